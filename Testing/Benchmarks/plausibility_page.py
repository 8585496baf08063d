"""The page of results: a row per setting in every table, targets with whether they are met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from Testing.Benchmarks.machine import table
from Testing.Benchmarks.plausibility_study import RealShapes

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A model, and how samples of it were made."""

    model: str
    level: int
    gain: float | None
    steps: int | None

    @property
    def cells(self) -> list[str]:
        """The first cells of its rows."""
        return [self.model, str(self.level), _text(self.gain, "g"), _text(self.steps, "d")]


@dataclass(frozen=True)
class Target:
    """A number and what it should be; `None` is neither met nor missed."""

    name: str
    value: Callable[[Numbers], float | None]
    met: Callable[[float], bool]
    form: str = ".2f"

    def cell(self, numbers: Numbers) -> str:
        """The value and whether it is met."""
        value = self.value(numbers)
        if value is None:
            return "none"
        return f"{value:{self.form}} {'yes' if self.met(value) else '**no**'}"


TARGETS = (
    Target("folded <= 0.01 %", lambda n: n["folded_worst"], lambda v: v <= 0.01, ".3f"),
    Target("excess <= 0.15", lambda n: n["excess"], lambda v: v <= 0.15),
    Target("rigid-free excess <= 0.20", lambda n: n["rigid_free_excess"], lambda v: v <= 0.20),
    Target("beyond <= 10 %", lambda n: _beyond(n, "recovered"), lambda v: v <= 10, ".0f"),
    Target("random beyond >= 50 %", lambda n: _beyond(n, "random"), lambda v: v >= 50, ".0f"),
    Target("volume 0.97 .. 1.03", lambda n: n["volumes"][0][0], lambda v: abs(v - 1) <= 0.03),
    Target("its sd 0.8 .. 1.2", lambda n: n["volumes"][0][1], lambda v: abs(v - 1) <= 0.2),
    Target("kept >= 45 %", lambda n: 100 * n["kept"], lambda v: v >= 45, ".0f"),
    Target("mean >= 2 voxels", lambda n: n["mean_voxels"], lambda v: v >= 2),
    Target("diversity >= 0.8", lambda n: n["diversity"], lambda v: v >= 0.8),
)

HEAD = ["model", "level", "gain", "passes"]

READING = """\
Samples are made by the path of `drdm generate` with its default settings, folds smoothed and seeds
passed over as it does; the start is the random field of the same seed before recovery. Lengths
are means over the image.

- **Shape distance**: mean distance (mm, both directions) between the surface of everything labelled
  and that of the nearest training shape, centroid on centroid. *floor*: the evaluated subjects
  themselves. *random*: the field of the sample's start, followed only until its mean displacement
  is that of the sample. *rigid-free*: until its mean displacement over the labels is, after the
  best translation and rotation are taken off both fields.
- **Excess** = (recovered - floor) / (random - floor): 0 as real subjects, 1 as random fields; in
  brackets the 95 % interval over subjects (bootstrap). "none" where random fields add less than
  5 % to the floor, and no interval where that is so in 5 % of the resamplings.
- **Beyond**: share of shapes whose distance map lies further outside the main modes of the training
  shapes than that of 95 % of the real shapes that the modes were not fitted to.
- **Volume**: mean and standard deviation over all samples, relative to the evaluated subjects.
- **Diversity**: 1 - Dice of two samples of one subject, centroid on centroid, relative to that of
  two evaluated subjects.
""".splitlines()


def page(facts: Sequence[str], results: Mapping[Setting, Numbers], real: RealShapes) -> list[str]:
    """The page as Markdown lines.

    Args:
        facts: List items on where, when and with what.
        results: `summed_up` of every setting.
        real: Shapes that were compared with.
    """
    lines = ["# Plausibility", "", *facts, *_shape_facts(real), "", *READING]
    for title, head, cells in (
        ("Targets", [target.name for target in TARGETS], _target_cells),
        ("Fields", _FIELD_HEAD, _field_cells),
        ("Shape distance, mm", _DISTANCE_HEAD, _distance_cells),
        ("Beyond the real shapes, %", _BEYOND_HEAD, _beyond_cells),
        ("Volume and diversity", _VOLUME_HEAD, _volume_cells),
    ):
        if cells is _beyond_cells and real.limit is None:
            continue
        rows = [[*setting.cells, *cells(numbers)] for setting, numbers in results.items()]
        lines += ["", f"## {title}", "", *table([*HEAD, *head], rows)]
    return lines


def _shape_facts(real: RealShapes) -> list[str]:
    """What the shapes were compared with, as list items."""
    grid = f"- shapes: {real.training} for training, on voxels of {real.spacing_mm:.3g} mm"
    if real.limit is None:
        return [grid, "- no modes: too few training shapes, or no real ones beside them"]
    text = (
        f"- modes: {real.modes}; 95 % of {real.percentile_from} real shapes outside the training "
        f"lie within {real.limit:.3f} mm of them"
    )
    return [grid, text]


_FIELD_HEAD = [
    "samples",
    "kept %",
    "mean voxels",
    "mean mm",
    "NCC (start)",
    "folded %: worst, mean",
    "before smoothing %",
    "passed over",
]
_DISTANCE_HEAD = ["recovered", "floor", "start", "random", "rigid-free", "excess", "rigid-free"]
_BEYOND_HEAD = ["recovered", "real", "start", "random", "rigid-free"]
_VOLUME_HEAD = ["volume: mean, sd", "per label", "1 - Dice", "relative to real", "differ by voxels"]


def _target_cells(numbers: Numbers) -> list[str]:
    return [target.cell(numbers) for target in TARGETS]


def _field_cells(numbers: Numbers) -> list[str]:
    return [
        str(numbers["samples"]),
        f"{100 * numbers['kept']:.0f}",
        f"{numbers['mean_voxels']:.2f}",
        f"{numbers['mean_mm']:.2f}",
        f"{numbers['ncc']:.3f} ({numbers['ncc_start']:.3f})",
        f"{numbers['folded_worst']:.3g}, {numbers['folded_mean']:.3g}",
        f"{numbers['folded_before_percent']:.3g}",
        str(numbers["rejected"]),
    ]


def _distance_cells(numbers: Numbers) -> list[str]:
    kinds = ("recovered", "floor", "start", "random", "random_rigid_free")
    return [
        *(f"{numbers['distance'][kind]:.3f}" for kind in kinds),
        *(
            _text(numbers[name]) + _interval(numbers[f"{name}_interval"])
            for name in ("excess", "rigid_free_excess")
        ),
    ]


def _beyond_cells(numbers: Numbers) -> list[str]:
    kinds = ("recovered", "real", "start", "random", "random_rigid_free")
    return [f"{numbers['beyond'][kind]:.0f}" for kind in kinds]


def _volume_cells(numbers: Numbers) -> list[str]:
    ratios = {
        value: f"{mean:.3f}, {_text(spread)}"
        for value, (mean, spread) in numbers["volumes"].items()
    }
    labels = "; ".join(f"{value}: {text}" for value, text in ratios.items() if value != 0)
    return [
        ratios[0],
        labels,
        _text(numbers["unlikeness"], ".3f"),
        _text(numbers["diversity"]),
        _text(numbers["difference_voxels"]),
    ]


def _beyond(numbers: Numbers, kind: str) -> float | None:
    """A share, where there are modes."""
    return None if numbers["beyond"] is None else float(numbers["beyond"][kind])


def _text(value: float | None, form: str = ".2f") -> str:
    """The number, or that there is none."""
    return "none" if value is None else f"{value:{form}}"


def _interval(bounds: tuple[float, float] | None) -> str:
    """The interval in brackets, if there is one."""
    return "" if bounds is None else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"
