"""Times and accuracies; each is one command and writes a page into docs/results."""

from DRDMCore.machine import wait_briefly

wait_briefly()  # as the program itself does, before torch is imported
