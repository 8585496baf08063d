"""The arms that are compared, and the settings that are tried for those that are tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from Testing.Experiments.planned import Setting


@dataclass(frozen=True)
class Arm:
    """One way to augment.

    Attributes:
        name: In tables and options.
        title: For the page.
        moves: Whether affine maps and grey values are varied.
        kinds: Kinds of fields that deform a sample, each as often as the others.
        tuned_as: The arm whose tuned setting each kind is drawn with; by default the arm itself.
    """

    name: str
    title: str
    moves: bool = True
    kinds: tuple[str, ...] = ()
    tuned_as: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether recovered fields are among those that deform its samples."""
        return bool({"drdm", "own", "between", "smooth"} & set(self.kinds))


ELASTIC_GRID: tuple[Setting, ...] = (
    {"sigma": 8, "mean_voxels": 1.0, "p": 0.5},
    {"sigma": 8, "mean_voxels": 2.0, "p": 0.5},
    {"sigma": 8, "mean_voxels": 1.5, "p": 0.9},
    {"sigma": 12, "mean_voxels": 1.5, "p": 0.5},
)
"""Smoothing (voxels) and mean displacement of MONAI's elastic field."""

DRDM_GRID: tuple[Setting, ...] = (
    {"level": 48, "gain": 1.5, "border": "free", "p": 0.5},
    {"level": 68, "gain": 1.5, "border": "fixed", "p": 0.5},
    {"level": 68, "gain": 1.5, "border": "free", "p": 0.5},
    {"level": 48, "gain": 1.5, "border": "fixed", "p": 0.5},
)

ELASTIC_GRID_2D: tuple[Setting, ...] = (
    {"sigma": 10, "mean_voxels": 1.5, "p": 0.5},
    {"sigma": 10, "mean_voxels": 2.5, "p": 0.5},
    {"sigma": 14, "mean_voxels": 4.0, "p": 0.5},
)
"""As far as the recovered fields of `DRDM_GRID_2D` reach."""

DRDM_GRID_2D: tuple[Setting, ...] = (
    {"level": 24, "gain": 1.5, "border": "free", "p": 0.5},
    {"level": 40, "gain": 1.5, "border": "free", "p": 0.5},
    {"level": 56, "gain": 1.5, "border": "free", "p": 0.5},
)

_SHORT: Setting = {
    "model": "published",
    "start": "level",
    "recursions": 1,
    "precision": "bf16",
    "border": "free",
}
"""A recovery with the published weights in 12 or 24 passes instead of 160."""

PUBLISHED_GRID: tuple[Setting, ...] = (
    {**_SHORT, "level": 12, "steps": 12, "p": 0.5},
    {**_SHORT, "level": 24, "steps": 24, "p": 0.5},
)
"""Two: a field costs six times what one of our own model costs."""

ARMS = {
    arm.name: arm
    for arm in (
        Arm("affine", "affine + intensity"),
        Arm("elastic", "+ elastic, tuned", kinds=("elastic",)),
        Arm("random", "+ matched random field", kinds=("random",), tuned_as=("drdm",)),
        Arm("drdm", "+ DRDM, tuned", kinds=("drdm",)),
        Arm("drdm-published", "+ DRDM, published weights, tuned", kinds=("drdm",)),
        Arm(
            "random-published",
            "+ random field matched to the published weights",
            kinds=("random",),
            tuned_as=("drdm-published",),
        ),
        Arm("none", "none", moves=False),
        Arm("registration", "+ registration fields", kinds=("registration",), tuned_as=("drdm",)),
        Arm("mixed", "+ DRDM and elastic", kinds=("drdm", "elastic"), tuned_as=("drdm", "elastic")),
        Arm("drdm-between", "+ DRDM, between samples", kinds=("between",), tuned_as=("drdm",)),
        Arm("drdm-smooth", "+ DRDM, smoothed", kinds=("smooth",), tuned_as=("drdm",)),
        Arm(
            "registration-all",
            "+ registration with unlabelled subjects",
            kinds=("population",),
            tuned_as=("drdm",),
        ),
        Arm("drdm-own", "+ DRDM trained on these alone", kinds=("own",), tuned_as=("drdm",)),
    )
}
"""By name, in the order in which they run and are shown."""

REGISTERED = {"registration", "population"}
"""Kinds of fields that come from registrations: to labelled subjects, or to any."""

DECISIVE = ("affine", "elastic", "random", "drdm")
OTHERS = ("none", "registration", "mixed")


def settings_of(arm: Arm, chosen: Mapping[str, Setting]) -> dict[str, Setting]:
    """The setting of each kind of field of an arm.

    Args:
        arm: The arm.
        chosen: Setting by the arm that it was tuned in.
    """
    names = arm.tuned_as or (arm.name,) * len(arm.kinds)
    found = {kind: chosen[name] for kind, name in zip(arm.kinds, names, strict=True)}
    for kind in REGISTERED & set(found):  # nothing is drawn: only the share of samples matters
        found[kind] = {"p": found[kind]["p"]}
    return found
