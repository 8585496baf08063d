"""What is compared: where the pairs come from that a network is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from Testing.Experiments.planned import Setting

REAL = "real"
"""As a kind of pairs: two subjects. The other kinds name the fields that pairs are made with."""


@dataclass(frozen=True)
class Arm:
    """One way to register.

    Attributes:
        name: In tables and options.
        title: For the page.
        kinds: Kinds of pairs that the network is trained on, taken in turns; none of them: an arm
            without a network.
        tuned_as: The arm whose tuned setting each kind has.
        grid: Settings that are tried where the arm itself is tuned.
    """

    name: str
    title: str
    kinds: tuple[str, ...] = ()
    tuned_as: tuple[str, ...] = ()
    grid: tuple[Setting, ...] = ()


MADE_GRID: tuple[Setting, ...] = (
    {"level": 48, "gain": 1.5, "border": "free"},
    {"level": 68, "gain": 1.5, "border": "free"},
)
"""How the fields of made pairs are drawn. A random field is matched to those of the setting."""

REAL_GRID: tuple[Setting, ...] = ({"smoothness": 0.5}, {"smoothness": 1.5})
"""Weight of the roughness of the velocity."""

ARMS = {
    arm.name: arm
    for arm in (
        Arm("none", "not registered"),
        Arm("demons", "diffeomorphic demons"),
        Arm("random", "made pairs, random field", ("random",), grid=MADE_GRID),
        Arm("drdm", "made pairs, DRDM", ("drdm",), grid=MADE_GRID),
        Arm("unsupervised", "real pairs, unsupervised", (REAL,), grid=REAL_GRID),
        Arm(
            "drdm+unsupervised",
            "DRDM and real pairs in turns",
            ("drdm", REAL),
            tuned_as=("drdm", "unsupervised"),
        ),
    )
}
"""By name, in the order in which they are shown."""

REFERENCES = tuple(name for name, arm in ARMS.items() if not arm.kinds)
LEARNED = tuple(name for name, arm in ARMS.items() if arm.kinds)
TUNED = tuple(name for name, arm in ARMS.items() if arm.grid)


def settings_of(arm: Arm, chosen: Mapping[str, Setting]) -> dict[str, Setting]:
    """The setting of each kind of pairs of an arm.

    Args:
        arm: The arm.
        chosen: Setting by the arm that it was tuned in.
    """
    names = arm.tuned_as or (arm.name,) * len(arm.kinds)
    return {kind: chosen[name] for kind, name in zip(arm.kinds, names, strict=True)}
