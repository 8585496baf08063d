"""The page of results: charts, tables with intervals, and the conclusion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from DRDMCore.atomic import write_text_whole
from DRDMCore.pipelines.quality import SEPARABILITY_DISTANCES
from Testing.Benchmarks.machine import table
from Testing.Experiments.by_level.charts import SHOWN, draw_histograms, draw_levels
from Testing.Experiments.by_level.choice import advice
from Testing.Experiments.by_level.conclusion import conclusion
from Testing.Experiments.by_level.coverage import NEIGHBOURS
from Testing.Experiments.by_level.measuring import LEAST_DETERMINANT
from Testing.Experiments.by_level.numbers import (
    FEW,
    Place,
    Summary,
    cells,
    summary,
)
from Testing.Experiments.by_level.plan import CHOOSING, PARTS, REAL, RECOVERED, REPORTED, Plan
from Testing.Experiments.by_level.records import Places, Results
from Testing.Experiments.by_level.wording import ranged

Summaries = Mapping[Place, Summary]

READING = f"""\
- **Recovered**: a sample by the path of `drdm generate` with the gain and passes that the model's
  card recommends. **Random**: the random field that this very sample starts from, without
  recovery. **Matched**: that field followed only until its mean displacement is that of the
  recovered sample. **Real**: the evaluated subjects as they are. Folds are smoothed in all of them,
  as `drdm generate` does. Brackets are 95 % intervals over subjects (bootstrap).
- **Size**: mean displacement over the image; *kept*: relative to the random start. *det J*: its
  percentiles over the voxels, and the standard deviation of its logarithm (values below
  {LEAST_DETERMINANT:g} count as that). *<= 0*: share of voxels before folds are smoothed. *Motion
  Separability*: the largest difference of motion between voxels at a distance, in voxels (RAN,
  Medical Image Analysis 2024). *NCC*: of image and original.
- **Shape distance** (specificity): mean distance, in both directions, between the surface of
  everything labelled and that of the nearest training shape, centroid on centroid. **Excess**
  = (recovered - real) / (matched - real): 0 as real subjects, 1 as random fields; *rigid-free*:
  random fields matched in displacement of the labels after the best rigid motion is taken off.
- **Beyond**: share of shapes that lie further outside the main modes of the training shapes than
  95 % of the real shapes that the modes were not fitted to.
- **Coverage**: share of the training shapes that a sample covers, that is, lies as near to as
  their {NEIGHBOURS}th nearest training shape or nearer (Naeem et al., ICML 2020). *Nearest*: share
  of them that are the nearest one of some sample, however far (Achlioptas et al., ICML 2018). Both
  of one sample per subject, as many as there are real subjects, mean over the seeds; *minus real*:
  less that of the real subjects. *Of {FEW}*: coverage to be expected of {FEW} of the subjects
  together with two samples of each; real: of the {FEW} subjects alone.
- **Diversity**: 1 - Dice of two samples of one subject, centroid on centroid, relative to that of
  two real subjects: no merit by itself, as implausible shapes are diverse too. *From original*:
  1 - Dice of sample and original.
- **Volume**: mean of volume / original, the standard deviation of that ratio over all samples, and
  the standard deviation of the volumes relative to that of the real subjects."""


def write_page(results: Results, places: Places) -> None:
    """Write the page, its charts, and what a model's card needs of it."""
    found = cells(results)
    summaries = {place: summary(found, place) for place in found}
    charts = {name: places.result(f"{name}.png") for name in ("", "-det-j", "-samples")}
    draw_levels(results.plan, summaries, charts[""])
    draw_histograms(results, charts["-det-j"])
    plan = results.plan
    lines = [
        f"# Plausibility and diversity by level: `{plan.model}`",
        "",
        "Written by `python -m Testing.Experiments.by_level`, which says how to run it, from "
        f"[{places.result('.csv').name}]({places.result('.csv').name}) (a row per sample).",
        "",
        *results.facts,
        *_plan_facts(plan),
        "",
        READING,
        "",
        f"![Measures by level, {REPORTED} subjects]({charts[''].name})",
        "",
        f"![Samples by level]({charts['-samples'].name})",
        "",
        f"![Histograms of det J by level]({charts['-det-j'].name})",
        "",
        *_tables(plan, summaries),
        *conclusion(plan, summaries),
    ]
    write_text_whole(places.result(".md"), "\n".join(lines) + "\n")
    told = {"model": plan.model, "sha256": plan.sha256, **advice(plan, summaries)}
    write_text_whole(places.result("-advice.json"), json.dumps(told) + "\n")


def _tables(plan: Plan, summaries: Summaries) -> list[str]:
    """All tables with their titles."""
    chosen_on = f"{CHOOSING} subjects, on which the level is chosen"
    fields = _by_kind(plan, summaries, REPORTED, _FIELD_HEAD, _field_cells)
    tables = {
        f"Shapes ({REPORTED} subjects)": _shapes(plan, summaries, REPORTED),
        f"Fields ({REPORTED} subjects)": fields,
        f"Volumes ({REPORTED} subjects)": _volumes(plan, summaries, REPORTED),
        f"Shapes ({chosen_on})": _shapes(plan, summaries, CHOOSING),
    }
    return [line for title, rows in tables.items() for line in (f"## {title}", "", *rows, "")]


def _plan_facts(plan: Plan) -> list[str]:
    """What was measured, as list items."""
    counts = ", ".join(f"{part} {len(plan.subjects[part])}" for part in PARTS)
    steered = "" if plan.gain is None else f"gain {plan.gain:g}, "
    return [
        f"- model {plan.model}: SHA-256 {plan.sha256}; {steered}{plan.steps} passes; its card "
        f"recommends level {plan.recommended}",
        f"- evaluated: {counts} subjects, {plan.seeds} samples of each per level and kind; "
        f"{len(plan.training)} training shapes; border {plan.border}",
    ]


_FIELD_HEAD = [
    *("mean voxels", "kept %", "det J 1 / 50 / 99 %", "sd of log det J"),
    *("<= 0 before smoothing %", "Motion Separability", "NCC"),
]


def _field_cells(numbers: Summary) -> list[str]:
    """What the fields are like."""
    percentiles = (f"{numbers[name].value:.2f}" for name in ("det_p1", "det_p50", "det_p99"))
    apart = (numbers[f"separability_{distance}"].value for distance in SEPARABILITY_DISTANCES)
    return [
        ranged(numbers["mean_voxels"]),
        f"{100 * numbers['kept'].value:.0f}",
        " / ".join(percentiles),
        ranged(numbers["log_det_sd"], ".3f"),
        f"{numbers['not_positive_before_percent'].value:.3g}",
        " / ".join(f"{value:.1f}" for value in apart),
        ranged(numbers["ncc"]),
    ]


def _by_kind(
    plan: Plan,
    summaries: Summaries,
    part: str,
    head: list[str],
    write: Callable[[Summary], list[str]],
) -> list[str]:
    """A table with a row per level and kind."""
    rows = [
        [str(level), kind, *write(summaries[part, kind, level])]
        for level in plan.levels
        for kind in SHOWN
    ]
    return table(["level", "kind", *head], rows)


_SHAPE_HEAD = [
    *("level", "kind", "distance, mm", "excess", "rigid-free", "beyond %", "coverage %"),
    *("minus real", "nearest %", f"of {FEW} %", "diversity", "from original"),
]


def _shapes(plan: Plan, summaries: Summaries, part: str) -> list[str]:
    """Where the shapes lie, those of the real subjects first."""
    places: list[Place] = [(part, REAL, None)]
    places += [(part, kind, level) for level in plan.levels for kind in SHOWN]
    return table(_SHAPE_HEAD, [_shape_row(summaries[place], place) for place in places])


def _shape_row(numbers: Summary, place: Place) -> list[str]:
    """One row of the table of shapes."""
    _, kind, level = place
    real = kind == REAL
    compared = ("excess", "rigid_free_excess")
    return [
        "" if level is None else str(level),
        kind,
        ranged(numbers["distance_mm"], ".3f"),
        *(ranged(numbers[name]) if kind == RECOVERED else "" for name in compared),
        ranged(numbers["beyond"], ".0f"),
        ranged(numbers["coverage"], ".0f", 100),
        "" if real else ranged(numbers["coverage_gap"], "+.0f", 100),
        ranged(numbers["nearest_coverage"], ".0f", 100),
        ranged(numbers["few"], ".0f", 100),
        "1" if real else ranged(numbers["diversity"]),
        "" if real else ranged(numbers["unlike_original"], ".3f"),
    ]


def _volumes(plan: Plan, summaries: Summaries, part: str) -> list[str]:
    """Volumes by label."""
    some = summaries[part, RECOVERED, plan.levels[0]]
    labels = [name.removeprefix("ratio_sd_") for name in some if name.startswith("ratio_sd_")]

    def write(numbers: Summary) -> list[str]:
        return [
            f"{ranged(numbers[f'ratio_{label}'])}; {numbers[f'ratio_sd_{label}'].value:.2f}; "
            f"{numbers[f'spread_{label}'].value:.2f}"
            for label in labels
        ]

    names = ["all labels" if label == "all" else f"label {label}" for label in labels]
    head = [f"{name}: mean; sd; sd / real" for name in names]
    return _by_kind(plan, summaries, part, head, write)
