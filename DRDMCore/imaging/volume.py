"""An image or a label map with its place in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from DRDMCore.checks import require_choice
from DRDMCore.imaging.geometry import Geometry

Kind = Literal["image", "labels"]


@dataclass(frozen=True)
class Volume:
    """A grid of numbers; images and labels are different kinds and are never mixed.

    Attributes:
        array: `(z, y, x)` or `(y, x)`; labels are integers.
        geometry: Where the voxels lie.
        kind: `image` or `labels`.
        label_names: Name per label value, where the file gave any.
        source: The file or folder it came from, if any.
    """

    array: np.ndarray
    geometry: Geometry
    kind: Kind = "image"
    label_names: Mapping[int, str] = field(default_factory=dict)
    source: Path | None = None

    def __post_init__(self) -> None:
        """Refuse an array that does not fit the grid or the kind."""
        require_choice("kind", self.kind, ("image", "labels"))
        if self.array.shape != self.geometry.shape:
            raise ValueError(
                f"`array` must have the shape of its geometry {self.geometry.shape}, "
                f"got {self.array.shape}."
            )
        if self.kind == "labels" and self.array.dtype.kind not in "iu":
            raise TypeError(f"`array` of labels must be of integers, got {self.array.dtype}.")

    @property
    def dimension(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.geometry.dimension

    @property
    def label_values(self) -> tuple[int, ...]:
        """The label values that occur, sorted; an image has none."""
        if self.kind == "image":
            return ()
        return tuple(int(value) for value in np.unique(self.array))

    @property
    def title(self) -> str:
        """How to call it in a message: its file, or its kind."""
        return str(self.source) if self.source else f"this {self.kind.removesuffix('s')} volume"

    def with_array(self, array: np.ndarray) -> Volume:
        """The same volume with other numbers on the same grid."""
        return replace(self, array=array)
