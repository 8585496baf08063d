"""A stand-in for the application 3D Slicer, for tests only: see README.md.

    from Testing.Harness import missing, start

    if not missing():
        harness = start()
        widget = harness.openModule("DRDMExtension/DRDM.py")

Nothing is imported or changed before `start()` is called.
"""

from .missing import missing

__all__ = ["missing", "start"]


def start(source=None):  # type: ignore[no-untyped-def]
    """The running application; it is started by the first call.

    Args:
        source: Folder of Slicer's sources, see README.md; by default the environment variable
            `SLICER_SOURCE`, if it is set.

    Returns:
        The `Harness` of this process.
    """
    from .harness import running

    return running(source)
