"""Generate from real scans, check what was promised of the files, and draw the pictures.

    python Testing/Benchmarks/real_cases.py [--shared ../shared] [--out runs/real-cases]

A case that is done already is taken as it is. Writes docs/results/real-cases.md, and pictures:
into docs/pictures for images that may be shown (hippocampus CC BY-SA 4.0, lung CC BY 3.0), else
into the output folder only.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume, read_image, read_labels
from DRDMCore.models import import_published, save_model
from DRDMCore.pipelines.generate import GenerateJob, generate
from DRDMCore.pipelines.pictures import label_colours, montage, render_slice, window_of
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.pipelines.views import choose_views

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE_WIDTH = 260


@dataclass(frozen=True)
class RealCase:
    """A scan, its labels, the model, and whether pictures of it may be published."""

    name: str
    image: str
    labels: str
    model: str
    level: int | None
    shown: bool


CASES = (
    RealCase(
        "cardiac MR stack, published weights",
        "cmr_published/patient001_frame01.nii.gz",
        "cmr_published/patient001_frame01_gt.nii.gz",
        "published",
        None,
        False,
    ),
    RealCase(
        "hippocampus MR",
        "hippocampus/images/hippocampus_001.nii.gz",
        "hippocampus/labels/hippocampus_001.nii.gz",
        "hippocampus-mr-3d",
        None,
        True,
    ),
    RealCase(
        "chest CT",
        "lung_ct/images/lctsc5.nii.gz",  # the model has not seen it
        "lung_ct/labels/lctsc5.nii.gz",
        "lung-ct-3d",
        None,
        True,
    ),
    RealCase(
        "chest CT, random field",
        "lung_ct/images/lctsc0.nii.gz",
        "lung_ct/labels/lctsc0.nii.gz",
        "none",
        20,
        True,
    ),
)


def run_case(case: RealCase, data: Path, out: Path) -> tuple[str, bool]:
    """Generate four samples; a row of the table, and whether every check holds."""
    model = case.model
    if model == "published":
        checkpoint = data / "cmr_published" / "000000_cmr_recresacnet.pth"
        path = out / "cardiac-mr-2d.safetensors"
        save_model(import_published(checkpoint, name="cardiac-mr-2d"), path)
        model = str(path)
    folder = out / case.name.replace(" ", "-").replace(",", "")
    job = GenerateJob(
        image=data / case.image,
        labels=data / case.labels,
        model=model,
        out=folder,
        count=4,
        seed=1,
        sampling=SamplingSettings(level=case.level),
    )
    manifest, seconds = generated(job)
    image, labels = read_image(job.image), read_labels(data / case.labels)
    good, error, wrong = check_files(manifest, folder, image, labels)
    pictures = REPOSITORY / "docs" / "pictures" if case.shown else out
    draw(manifest, folder, image, labels, pictures / f"{folder.name}.png")
    return row(case, manifest, image, error, wrong, seconds, good), good


def generated(job: GenerateJob) -> tuple[dict, float]:
    """The manifest and the seconds per sample; a finished job of the same inputs is taken as is."""
    clock = job.out / "seconds"
    try:
        started = time.perf_counter()
        manifest = generate(job)
    except InputError:  # the folder holds the results of another model
        if not job.out.exists():
            raise
        shutil.rmtree(job.out)
        return generated(job)
    if not clock.is_file():
        clock.write_text(f"{(time.perf_counter() - started) / job.count}", encoding="utf-8")
    return manifest, float(clock.read_text(encoding="utf-8"))


def check_files(
    manifest: dict, folder: Path, image: Volume, labels: Volume
) -> tuple[bool, float, int]:
    """Re-apply every written field with SimpleITK; grid, labels and folds as promised?"""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # rounded orientations in NIfTI headers
    original = sitk.ReadImage(str(image.source), sitk.sitkFloat64)
    map_ = sitk.ReadImage(str(labels.source))
    span = float(image.array.max() - image.array.min())
    good, worst, wrong = True, 0.0, 0
    for entry in manifest["samples"]:
        vectors = sitk.ReadImage(str(folder / entry["field"]), sitk.sitkVectorFloat64)
        transform = sitk.DisplacementFieldTransform(vectors)
        moved = sitk.Resample(original, original, transform, sitk.sitkLinear, 0.0)
        moved_labels = sitk.Resample(map_, map_, transform, sitk.sitkNearestNeighbor, 0)
        written = sitk.ReadImage(str(folder / entry["image"]), sitk.sitkFloat64)
        written_labels = read_labels(folder / entry["labels"])
        difference = sitk.GetArrayFromImage(moved) - sitk.GetArrayFromImage(written)
        worst = max(worst, float(np.abs(difference).max()) / span)
        wrong += int((sitk.GetArrayFromImage(moved_labels) != written_labels.array).sum())
        same = written.GetSize() == original.GetSize() and np.allclose(
            [*written.GetSpacing(), *written.GetOrigin(), *written.GetDirection()],
            [*original.GetSpacing(), *original.GetOrigin(), *original.GetDirection()],
            atol=1e-4,
        )
        known = set(written_labels.label_values) <= set(labels.label_values)
        good &= same and known and entry["quality"]["folding"]["voxels"] == 0
    return good and worst <= 1e-3 and wrong == 0, worst, wrong


def row(
    case: RealCase,
    manifest: dict,
    image: Volume,
    error: float,
    wrong: int,
    seconds: float,
    good: bool,
) -> str:
    """One line of the table."""
    quality = [entry["quality"] for entry in manifest["samples"]]
    mean = np.mean([q["displacement_mm"]["mean"] for q in quality])
    ncc = np.mean([q["image"]["ncc"] for q in quality])
    repaired = np.mean([100 * q["repaired_voxels"] / image.array.size for q in quality])
    values = sorted({row["value"] for q in quality for row in q["labels"]})
    geometry = image.geometry
    return (
        f"| {case.name} | {'x'.join(map(str, geometry.size))} | "
        f"{'x'.join(f'{s:g}' for s in geometry.spacing_mm)} | 0, {', '.join(map(str, values))} | "
        f"{mean:.2f} | {ncc:.3f} | {sum(q['folding']['voxels'] for q in quality)} | "
        f"{repaired:.1f} | {len(manifest['rejected'])} | {error:.1e} | "
        f"{wrong} | {seconds:.0f} | {'yes' if good else 'NO'} |"
    )


def draw(manifest: dict, folder: Path, image: Volume, labels: Volume, path: Path) -> None:
    """The original and the samples side by side, a row per view."""
    colours = label_colours(labels.label_values)
    window = window_of(image.array)
    volumes = [(image, labels)] + [
        (read_image(folder / entry["image"]), read_labels(folder / entry["labels"]))
        for entry in manifest["samples"]
    ]
    pictures = []
    for view in choose_views(image.geometry, labels.array):
        scale = PICTURE_WIDTH / max(view.extent_mm(image.geometry))
        pictures += [
            render_slice(
                view.cut(each.array),
                window,
                view.cut(each_labels.array),
                spacing=view.spacing(image.geometry),
                scale=scale,
                colours=colours,
            )
            for each, each_labels in volumes
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    montage(pictures, columns=len(volumes)).quantize(128).save(path, optimize=True)


def main() -> int:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "real-cases")
    arguments = parser.parse_args()
    rows, good = [], True
    for case in CASES:
        line, fine = run_case(case, arguments.shared / "data", arguments.out)
        print(line, flush=True)
        rows.append(line)
        good &= fine
    (REPOSITORY / "docs" / "results").mkdir(parents=True, exist_ok=True)
    text = "\n".join([HEAD.format(**facts()), *rows, ""])
    (REPOSITORY / "docs" / "results" / "real-cases.md").write_text(text, encoding="utf-8")
    return 0 if good else 1


HEAD = """# Real scans

Written by `python Testing/Benchmarks/real_cases.py` on {date}, commit {commit}; {machine}, torch
{torch}, {threads} threads. Four samples a case, seeds from 1. "Re-applied": the written field
applied to the original by SimpleITK, the largest difference to the written image as a part of its
range (wanted: 1e-3), and label voxels that differ (wanted: 0).

| case | voxels | mm | labels | mean mm | NCC to original | folded voxels | repaired % | rejected \
| re-applied | labels differ | s / sample | as promised |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def facts() -> dict[str, object]:
    """What the table was made with."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.exit(main())
