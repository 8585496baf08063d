"""Peak memory of a whole job in a process of its own, with everything that Python loads.

`python -m Testing.Benchmarks.generation_memory` runs one job and prints its peak in bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from Testing.Benchmarks.generation_cases import TORSO, volumes
from Testing.Benchmarks.machine import REPOSITORY

SPACING_MM = 5.0
"""The grid of the model: the network sees every voxel of the image."""


def peak_bytes(precision: str) -> int:
    """Peak resident set of a `generate` job of one 128^3 sample: files, report and all."""
    command = [sys.executable, "-m", "Testing.Benchmarks.generation_memory", precision]
    answer = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return int(answer.stdout)


def run_job(precision: str) -> None:
    """The job itself."""
    from DRDMCore.imaging import write_volume
    from DRDMCore.pipelines.generate import GenerateJob, generate
    from DRDMCore.pipelines.settings import SamplingSettings

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, labels = volumes(TORSO.kind, TORSO.shape, SPACING_MM)
        write_volume(image, folder / "image.nii.gz")
        write_volume(labels, folder / "labels.nii.gz")
        job = GenerateJob(
            image=folder / "image.nii.gz",
            labels=folder / "labels.nii.gz",
            out=folder / "out",
            model=TORSO.model,
            count=1,
            seed=0,
            sampling=SamplingSettings(precision=precision),
        )
        generate(job)


def own_peak() -> int:
    """Peak resident set of this process so far, bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` would count the peak of the parent on Linux
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if peaks:
            return 1024 * peaks[0]
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    run_job(sys.argv[1])
    print(own_peak())
