"""Segments of a `.seg.nrrd` file: names, label values and layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from DRDMCore.errors import InputError

_KEY = re.compile(r"Segment(\d+)_(?:ID|Name|LabelValue)$")


@dataclass(frozen=True)
class Segment:
    """One segment: the voxels of `layer` that hold `value`."""

    name: str
    value: int
    layer: int


def segments_of(image: sitk.Image) -> list[Segment]:
    """The segments that the header of an image lists, in the order of the file."""
    matches = (_KEY.match(key) for key in image.GetMetaDataKeys())
    numbers = sorted({int(match[1]) for match in matches if match})
    return [_segment(image, number) for number in numbers]


def merge_layers(
    layers: np.ndarray, segments: list[Segment], title: str
) -> tuple[np.ndarray, dict[int, str]]:
    """Put the segments of all layers into one label map.

    Label values are kept where they are unique, else the segments are numbered from 1.

    Args:
        layers: `(*S, layers)` integers.
        segments: What the layers hold.
        title: The file, for messages.

    Returns:
        `(*S)` labels and the name of each.

    Raises:
        InputError: If two segments overlap, or a layer is missing.
    """
    values = _unique_values(segments)
    merged = np.zeros(layers.shape[:-1], dtype=np.min_scalar_type(max(values)))
    for segment, value in zip(segments, values, strict=True):
        if not 0 <= segment.layer < layers.shape[-1]:
            raise InputError(
                f"Segment {segment.name!r} of {title} must lie in layer 0 to "
                f"{layers.shape[-1] - 1}, got {segment.layer}: export the segmentation again."
            )
        mask = layers[..., segment.layer] == segment.value
        _require_free(merged, mask, segment, dict(zip(values, segments, strict=True)), title)
        merged[mask] = value
    return merged, {value: s.name for value, s in zip(values, segments, strict=True)}


def describe_segments(image: sitk.Image, names: Mapping[int, str], values: tuple[int, ...]) -> None:
    """Write the segment keys that Slicer reads into the header of a label image, in place."""
    extent = " ".join(f"0 {count - 1}" for count in image.GetSize())
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    for number, value in enumerate(value for value in values if value != 0):
        keys = {
            "ID": f"Segment_{value}",
            "Name": names.get(value, f"Segment_{value}"),
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": extent,
        }
        for key, text in keys.items():
            image.SetMetaData(f"Segment{number}_{key}", text)


def _segment(image: sitk.Image, number: int) -> Segment:
    """One segment of the header; Slicer before 4.11 wrote one label 1 per layer."""

    def text(key: str, default: str) -> str:
        full = f"Segment{number}_{key}"
        return image.GetMetaData(full).strip() if image.HasMetaDataKey(full) else default

    name = text("Name", "") or text("ID", f"Segment_{number}")
    return Segment(name, int(text("LabelValue", "1")), int(text("Layer", str(number))))


def _unique_values(segments: list[Segment]) -> list[int]:
    """A label value of its own for each segment."""
    values = [segment.value for segment in segments]
    if len(set(values)) == len(values) and min(values) > 0:
        return values
    return list(range(1, len(segments) + 1))


def _require_free(
    merged: np.ndarray,
    mask: np.ndarray,
    segment: Segment,
    others: Mapping[int, Segment],
    title: str,
) -> None:
    """Raise `InputError` if a segment lies where another one already is."""
    taken = merged[mask]
    count = int(np.count_nonzero(taken))
    if count:
        other = others[int(taken[taken > 0][0])]
        raise InputError(
            f"The segments of {title} must not overlap, but {segment.name!r} and {other.name!r} "
            f"share {count} voxels: export them as one label map."
        )
