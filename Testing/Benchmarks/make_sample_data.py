"""Make the sample data of the extension again: made-up subjects that the bundled models know.

    python Testing/Benchmarks/make_sample_data.py

Writes DRDMExtension/Resources/SampleData: a chest and one slice of a heart, each with its
segmentation, whose segments have names and colours. Their seeds are in no model's training data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from machine import REPOSITORY
from PIL import Image

from DRDMCore.imaging import Volume, phantom

FOLDER = REPOSITORY / "DRDMExtension" / "Resources" / "SampleData"
SEED = 1001
SLICE_THICKNESS_MM = 8.0
THUMBNAIL = (128, 128)
SUBJECTS = {"torso-3d": (40, 64, 64), "heart-2d": None}
"""Voxels per axis; few, because the files lie in the repository; voxel sizes with few digits."""

COLOURS = {
    "left lung": (0.46, 0.66, 0.86),
    "right lung": (0.30, 0.49, 0.75),
    "heart": (0.80, 0.28, 0.25),
    "liver": (0.87, 0.51, 0.40),
    "spine": (0.95, 0.84, 0.57),
    "right ventricle": (0.30, 0.49, 0.75),
    "myocardium": (0.75, 0.40, 0.34),
    "left ventricle": (0.82, 0.25, 0.23),
}


def image_of(volume: Volume) -> sitk.Image:
    """A volume for files; a slice gets a thickness, as Slicer expects of one."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    if volume.array.ndim == 3:
        return image
    image = sitk.JoinSeries(image)
    image.SetSpacing((*volume.geometry.spacing_mm, SLICE_THICKNESS_MM))
    return image


def describe_segments(image: sitk.Image, names: dict[int, str]) -> None:
    """Write the segments' names and colours into the header, in the keys of Slicer."""
    extent = " ".join(f"0 {count - 1}" for count in image.GetSize())
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    for number, (value, name) in enumerate(names.items()):
        keys = {
            "ID": f"Segment_{value}",
            "Name": name,
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": extent,
            "Color": " ".join(map(str, COLOURS[name])),
        }
        for key, text in keys.items():
            image.SetMetaData(f"Segment{number}_{key}", text)


def write_thumbnail(volume: Volume, path: Path) -> None:
    """Draw the slice in the middle, as the module Sample Data shows it."""
    array = volume.array if volume.array.ndim == 2 else volume.array[len(volume.array) // 2]
    low, high = np.percentile(array, (1, 99))
    grey = (255 * np.clip((array - low) / (high - low), 0, 1)).astype(np.uint8)
    Image.fromarray(grey).resize(THUMBNAIL, Image.Resampling.BICUBIC).save(path, optimize=True)


def write(image: sitk.Image, path: Path) -> None:
    """Write an image as small as it gets."""
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=9)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main(folder: Path) -> None:
    """Make all subjects in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, shape in SUBJECTS.items():
        volume, labels = phantom(kind, SEED, shape=shape)
        segmentation = image_of(labels)
        describe_segments(segmentation, dict(labels.label_names))
        write(image_of(volume), folder / f"phantom-{kind}.nrrd")
        write_thumbnail(volume, folder / f"phantom-{kind}.png")
        write(segmentation, folder / f"phantom-{kind}.seg.nrrd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files")
    main(parser.parse_args().out)
