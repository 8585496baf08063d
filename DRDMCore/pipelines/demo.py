"""The main job on the embedded default: a phantom subject and the bundled model."""

from __future__ import annotations

from pathlib import Path

from DRDMCore.imaging import phantom, write_volume
from DRDMCore.pipelines.generate import GenerateJob, generate
from DRDMCore.progress import Callback

KIND, MODEL = "torso-3d", "phantom-torso-3d"
_SUBJECT_SEED = 1_000_001
"""No training subject has this seed."""


def demo(
    out: Path, *, count: int = 4, device: str = "cpu", progress: Callback | None = None
) -> dict[str, Path]:
    """Make a subject and `count` deformed versions of it.

    Args:
        out: Folder for everything.
        count: Samples.
        device: Where to compute.
        progress: Told of passes and samples.

    Returns:
        `image`, `labels`, `folder` of the samples, and `report`.

    Raises:
        DRDMError: As `generate`.
    """
    image, labels = phantom(KIND, _SUBJECT_SEED)
    folder = out / "subject"
    paths = {"image": folder / "chest.nii.gz", "labels": folder / "chest.seg.nrrd"}
    write_volume(image, paths["image"])
    write_volume(labels, paths["labels"])
    job = GenerateJob(
        image=paths["image"],
        labels=paths["labels"],
        model=MODEL,
        out=out / "samples",
        count=count,
        seed=0,
        device=device,
    )
    generate(job, progress)
    return {**paths, "folder": job.out, "report": job.out / "report.html"}
