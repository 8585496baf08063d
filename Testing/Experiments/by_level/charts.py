"""The two charts of the page: measures over the levels, and histograms of det J."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from Testing.Experiments.by_level.chart import Colour, Curve, Panel, draw_panels
from Testing.Experiments.by_level.measuring import EDGES, histogram_key
from Testing.Experiments.by_level.numbers import Place, Summary
from Testing.Experiments.by_level.plan import MATCHED, RANDOM, REAL, RECOVERED, REPORTED, Plan
from Testing.Experiments.by_level.records import Results

SHOWN = (RECOVERED, RANDOM, MATCHED)
COLOURS: Mapping[str, Colour] = {
    RECOVERED: (0, 114, 178),
    RANDOM: (213, 94, 0),
    MATCHED: (140, 148, 156),
}
_REAL_COLOUR: Colour = (29, 35, 41)
_LEGEND = {
    RECOVERED: "recovered",
    RANDOM: "random: its start",
    MATCHED: "matched: random, as large as recovered",
}
_REAL_LINE = ("real subjects, or unchanged", _REAL_COLOUR)
_PANELS = (
    ("mean displacement, voxels", "mean_voxels", 1.0, (RECOVERED, RANDOM)),
    ("shape distance, mm", "distance_mm", 1.0, SHOWN),
    ("excess over real (matched: 1)", "excess", 1.0, (RECOVERED,)),
    ("beyond the real shapes, %", "beyond", 1.0, SHOWN),
    ("coverage of real shapes, %", "coverage", 100.0, SHOWN),
    ("diversity (real: 1)", "diversity", 1.0, SHOWN),
    ("mean volume / original", "ratio_all", 1.0, SHOWN),
    ("sd of log det J", "log_det_sd", 1.0, SHOWN),
)
"""Title, measure, factor, kinds."""

_FIXED_LINES = {"excess": 0.0, "ratio_all": 1.0}
_ASIDE = 0.9  # levels
_HISTOGRAM_ENDS = (-3, 3)  # log2 det J


def draw_levels(
    plan: Plan, summaries: Mapping[Place, Summary], path: Path, part: str = REPORTED
) -> None:
    """Draw the measures over the levels, with bars for the 95 % intervals."""
    real = summaries[part, REAL, None]
    marks = [(float(level), str(level)) for level in plan.levels]
    panels = []
    for title, name, factor, kinds in _PANELS:
        curves = [_curve(plan, summaries, part, kind, name, factor) for kind in kinds]
        line = _FIXED_LINES.get(name)
        if name in real and line is None:
            line = factor * real[name].value
        panels.append(Panel(title, curves, line, marks))
    legend = [*((_LEGEND[kind], COLOURS[kind]) for kind in SHOWN), _REAL_LINE]
    draw_panels(panels, legend, "level", path)


def draw_histograms(results: Results, path: Path, part: str = REPORTED) -> None:
    """Draw histograms of det J, a panel per level."""
    middles = (EDGES[:-1] + EDGES[1:]) / 2
    shown = (middles > _HISTOGRAM_ENDS[0]) & (middles < _HISTOGRAM_ENDS[1])
    marks = [(float(k), f"1/{2**-k}" if k < 0 else str(2**k)) for k in range(-3, 4)]
    panels = []
    for level in results.plan.levels:
        curves = []
        for kind in SHOWN:
            counts = np.array(results.histograms[part][histogram_key(kind, level)], dtype=float)
            curves.append(Curve(COLOURS[kind], middles[shown], 100 * counts[shown] / counts.sum()))
        ends = 0.0, 1.06 * float(max(curve.y.max() for curve in curves))
        panels.append(Panel(f"level {level}, % of voxels", curves, None, marks, ends, dots=False))
    legend = [(_LEGEND[kind], COLOURS[kind]) for kind in SHOWN]
    draw_panels(panels, legend, "det J (logarithmic)", path)


def _curve(
    plan: Plan,
    summaries: Mapping[Place, Summary],
    part: str,
    kind: str,
    name: str,
    factor: float,
) -> Curve:
    """One measure of one kind over the levels."""
    found = [summaries[part, kind, level][name] for level in plan.levels]
    ends = [each.interval or (np.nan, np.nan) for each in found]
    values = factor * np.array([each.value for each in found])
    low, high = factor * np.array(ends).T
    aside = _ASIDE * (SHOWN.index(kind) - 1)  # so that bars do not hide each other
    return Curve(COLOURS[kind], np.array(plan.levels) + aside, values, low, high)
