"""Which way the axes of a volume run in the patient, and the same voxels in another order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DRDMCore.imaging.geometry import Geometry

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
"""Against and along the axes L, P, S of ITK."""


def orientation_of(geometry: Geometry) -> str:
    """Where the ITK axes `(x, y, z)` of a volume run to, each to its nearest side of the patient.

    Returns:
        Three letters, such as `LPS` for the frame of ITK itself, or `RAS`.

    Raises:
        ValueError: If the grid is 2D.
    """
    return "".join(_LETTERS[row][int(sign > 0)] for row, sign in _sides(geometry))


def is_orientation(text: object) -> bool:
    """Whether it is three letters, one of each pair R L, A P, I S."""
    if not isinstance(text, str) or len(text) != 3:
        return False
    return sorted(_row_of(letter) for letter in text) == [0, 1, 2]


@dataclass(frozen=True)
class Turn:
    """The array of a volume with its axes in another order, some of them backwards; no resampling.

    Attributes:
        axes: The array axis of the volume that each axis of the turned one was.
        backwards: Whether each axis of the turned one runs backwards.
    """

    axes: tuple[int, ...]
    backwards: tuple[bool, ...]

    def array(self, array: np.ndarray) -> np.ndarray:
        """`(*S)` turned."""
        return np.ascontiguousarray(np.flip(array.transpose(self.axes), self._flipped(0)))

    def geometry(self, geometry: Geometry) -> Geometry:
        """The grid of the turned array: every voxel stays where it is in the patient."""
        count = geometry.dimension
        old = [count - 1 - axis for axis in self.axes[::-1]]  # ITK axis that each new one was
        signs = np.where(self.backwards[::-1], -1.0, 1.0)
        steps = geometry.matrix * np.array(geometry.spacing_mm)
        last = (np.array(geometry.size) - 1)[old] * (signs < 0)
        origin = np.array(geometry.origin_mm) + steps[:, old] @ last
        return Geometry(
            size=tuple(geometry.size[axis] for axis in old),
            spacing_mm=tuple(geometry.spacing_mm[axis] for axis in old),
            origin_mm=tuple(origin.tolist()),
            direction=tuple((geometry.matrix[:, old] * signs).ravel().tolist()),
        )

    def ddf_back(self, ddf: np.ndarray) -> np.ndarray:
        """`(D, *S)` displacement of the turned volume, voxels, on the volume as it was."""
        back = np.flip(ddf, self._flipped(1)).transpose(0, *(1 + np.argsort(self.axes)))
        result = np.empty(back.shape, back.dtype)
        for turned, (axis, backwards) in enumerate(zip(self.axes, self.backwards, strict=True)):
            result[axis] = -back[turned] if backwards else back[turned]
        return result

    def _flipped(self, first: int) -> tuple[int, ...]:
        """The axes that run backwards, where the spatial ones begin at `first`."""
        return tuple(first + axis for axis, back in enumerate(self.backwards) if back)


def turn_to(geometry: Geometry, orientation: str) -> Turn | None:
    """How a volume has to be turned for its axes to run that way, as nearly as they can.

    Args:
        geometry: A 3D grid; it may be oblique.
        orientation: As `orientation_of` gives it.

    Returns:
        The turn; `None` if the axes run that way already.

    Raises:
        ValueError: If the grid is 2D, or that is no orientation.
    """
    if not is_orientation(orientation):
        raise ValueError(f"`orientation` must be letters such as LPS, got {orientation!r}.")
    own = orientation_of(geometry)
    if own == orientation:
        return None
    rows = [_row_of(letter) for letter in own]
    old = [rows.index(_row_of(letter)) for letter in orientation]
    backwards = [own[axis] != letter for axis, letter in zip(old, orientation, strict=True)]
    return Turn(tuple(2 - axis for axis in old[::-1]), tuple(backwards[::-1]))


def most_common(orientations: Sequence[str]) -> str:
    """The orientation that most have; of several such, the first in the alphabet."""
    return max(sorted(set(orientations)), key=list(orientations).count)


def _row_of(letter: str) -> int:
    """The ITK axis of the patient that a letter is an end of; -1 for no such letter."""
    return next((row for row, pair in enumerate(_LETTERS) if letter in pair), -1)


def _sides(geometry: Geometry) -> list[tuple[int, float]]:
    """Per ITK axis the patient's axis that it is nearest to, each used once, and the cosine."""
    if geometry.dimension != 3:
        raise ValueError(f"`geometry` must be 3D, got {geometry.dimension}D.")
    matrix = geometry.matrix
    orders = itertools.permutations(range(3))
    rows = max(orders, key=lambda order: sum(abs(matrix[row, i]) for i, row in enumerate(order)))
    return [(row, float(matrix[row, axis])) for axis, row in enumerate(rows)]
