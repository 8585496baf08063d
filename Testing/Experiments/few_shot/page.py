"""The page of results: what the arms reach, how they differ, and what is missing."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from DRDMCore.atomic import write_text_whole
from Testing.Benchmarks.machine import table
from Testing.Experiments.few_shot import matching
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.chart import draw_chart
from Testing.Experiments.few_shot.longer import longer_section
from Testing.Experiments.few_shot.measures import known_mean
from Testing.Experiments.few_shot.numbers import (
    DICE,
    HD95,
    SURFACE,
    Cell,
    Cells,
    best_other,
    cells,
    gap_closed,
    paired,
    tuning_means,
)
from Testing.Experiments.few_shot.persons import persons_section
from Testing.Experiments.few_shot.plan import (
    Run,
    best_settings,
    reported_keys,
    test_runs,
    tuning_runs,
)
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.slices import patient_of
from Testing.Experiments.few_shot.study import ALL, Study
from Testing.Experiments.finished import Row
from Testing.Experiments.planned import missing_in_words

_NUMBERS = (1, 2, 5, 20, ALL)
_NONE = "not measured"


def write_page(study: Study, records: Records, extra: Sequence[str] = ()) -> None:
    """Write the tables, the page and the picture of a study.

    Args:
        study: The study.
        records: Its results.
        extra: Arms beyond the planned ones.
    """
    records.write()
    rows = records.rows()
    tuning = list(tuning_runs(study))
    chosen = best_settings(rows, study)
    complete = all(name in chosen for name in study.tuned)
    runs = test_runs(study, chosen, extra) if complete else []
    keys = reported_keys(study, rows, extra)
    found = cells(rows, records.scores(), keys, functools.partial(patient_of, study))
    picture = records.table.with_suffix(".png")
    lines = [
        f"# Few-shot segmentation: {study.title}",
        "",
        "Written by `python -m Testing.Experiments.few_shot page` from "
        f"[{records.table.name}]({records.table.name}) (a row per network) and "
        f"[{records.by_subject.name}]({records.by_subject.name}) (scores per test subject); "
        "how it is made and run: `Testing/Experiments/README.md`.",
        "",
        *_facts(study, rows, tuning, runs),
        *_results(study, found, picture.name),
        *persons_section(study, records, found),
        *longer_section(rows, [*keys, *(run.key for run in tuning)]),
        *_tuning(rows, tuning, chosen),
        *_fields(records),
    ]
    if found:
        draw_chart(found, _NUMBERS, picture)
    page = records.results / f"few-shot-{study.name}.md"
    write_text_whole(page, "\n".join(lines) + "\n")


def _facts(study: Study, rows: Sequence[Row], tuning: list[Run], runs: list[Run]) -> list[str]:
    """How it was measured and what is missing."""
    known = {run.key for run in [*tuning, *runs]}
    used = [row for row in rows if row["key"] in known]
    settings = study.training
    missing = missing_in_words(rows, tuning, runs, lambda run: f"n = {_number(run.n)} {run.arm}")
    seconds = sum(float(row["seconds"]) + float(row["drawing_seconds"]) for row in used)
    return [
        f"- runs: {len(used)} finished, {seconds / 3600:.1f} hours together; {missing}",
        f"- network: MONAI BasicUNet, features {settings.features}, {settings.precision}; "
        f"Dice + cross-entropy, AdamW {settings.learning_rate:g} with cosine, batch "
        f"{settings.batch}; iterations by labelled subjects: {_by_number(settings.iterations)}"
        + (f"; in tuning {settings.tuning_iterations}" if settings.tuning_iterations else ""),
        f"- generator: {study.generator}. {study.seen}",
        *_trained_weights(study, used),
        *(f"- {name} weights: {named}" for name, named in study.others.items()),
        *(f"- {remark}" for remark in study.remarks),
        "- split: that of the generator's training; tuned on subsets of its own and scored on the "
        "validation part; reported on the test part, with the last weights of each training",
        f"- devices: {'; '.join(sorted({row['device'] for row in used})) or 'none'}",
        f"- versions: {', '.join(sorted({row['versions'] for row in used})) or 'none'}",
        f"- commits: {', '.join(sorted({row['commit'] for row in used})) or 'none'}",
        "",
    ]


def _trained_weights(study: Study, used: Sequence[Row]) -> list[str]:
    """Weights of the generator, where the study trains it."""
    named = {r["own_model_sha256"][:12] for r in used if r["generator"] == study.generator} - {""}
    if study.trained is None or not named:
        return []
    text = "- its weights, trained by the same settings, on different processors where they differ"
    return [f"{text}: {', '.join(sorted(named))}"]


def _results(study: Study, found: Cells, picture: str) -> list[str]:
    """Tables of Dice and of differences."""
    if not found:
        return ["## Results", "", "No run of the test is finished yet.", ""]
    return [
        "## Results",
        "",
        f"![Dice by number of labelled subjects]({picture})",
        "",
        "Arms with less than half of the subsets of the most complete one are in the tables alone. "
        "Dice in percent, mean over labels and test subjects; ± is the standard deviation over "
        "subsets, *median* that over subsets; surface distances in mm are means over subjects in "
        "which the label was found; *failed*: test subjects below 50 Dice.",
        "",
        *table(_head(study), [_line(found, n, arm) for n, arm in _places(found)]),
        "",
        "## DRDM against the others",
        "",
        "Differences of Dice on the same subsets, initialisations and test subjects. *Subsets*: "
        "95 % interval over subsets (Student); *both*: subsets and test subjects drawn anew "
        "(bootstrap). The best other arm is the one with the highest mean on the same subsets and "
        "these very test subjects, which favours it. *Gap closed*: (DRDM - best other) / (all "
        "subjects - best other), all subjects in their best arm.",
        "",
        *_against_others(found, "drdm"),
        *_published(found),
        *_paper(study, found),
    ]


def _against_others(found: Cells, arm: str) -> list[str]:
    """Differences between an arm and all others, and the gap that it closes."""
    lines = [line for n in _NUMBERS for line in _differences(found, n, arm)]
    if not lines:
        return ["No subset is finished with DRDM and another arm yet.", ""]
    return [
        *table(["n", "DRDM minus", "difference", "subsets", "both", "better on"], lines),
        "",
        *table(["n", "best other arm", "gap closed", "95 %"], _gaps(found, arm)),
        "",
    ]


def _published(found: Cells) -> list[str]:
    """The same for the published weights, where they have been tried."""
    if not any(arm == "drdm-published" for _, arm in found):
        return []
    return ["### With the published weights", "", *_against_others(found, "drdm-published")]


def _paper(study: Study, found: Cells) -> list[str]:
    """Our figures beside those of the paper."""
    if not study.paper:
        return []
    theirs = list(next(iter(study.paper.values())))
    arms = [arm for arm in ARMS if any(a == arm for _, a in found)]
    ours = {study.everyone if n == ALL else n: n for n, _ in found}
    lines = []
    for count in sorted({*ours, *study.paper}):
        cells_of = [found.get((ours.get(count, -1), arm)) for arm in arms]
        known = study.paper.get(count, {})
        lines.append(
            [
                str(count),
                *(f"{known[name]:.1f}" if name in known else "" for name in theirs),
                *("" if each is None else f"{each.by_subset.mean():.1f}" for each in cells_of),
            ]
        )
    head = [*(f"paper: {name}" for name in theirs), *(ARMS[arm].title for arm in arms)]
    return [
        "## Beside the paper's figures",
        "",
        "Mean Dice of all labels in percent. The paper (Zheng et al., Medical Image Analysis 2026, "
        "ACDC with a plain U-Net) has 100 patients to train on where we have "
        f"{study.everyone}, other test patients, its own network, training and grid; only "
        "differences within either side say something.",
        "",
        *table(["labelled patients", *head], lines),
        "",
    ]


def _head(study: Study) -> list[str]:
    """Of the table of results."""
    labels = [f"{name}" for name in study.values.values()]
    means = ["Dice", "median", *labels, "surface mm", "HD95 mm", "failed %"]
    return ["n", "arm", "runs", *means]


def _places(found: Cells) -> list[tuple[int, str]]:
    """Cells in the order in which they are shown."""
    return [(n, arm) for n in _NUMBERS for arm in ARMS if (n, arm) in found]


def _line(found: Cells, n: int, arm: str) -> list[str]:
    """One arm at one number of labelled subjects."""
    cell = found[n, arm]
    values = cell.by_subset
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    labels = [f"{value:.2f}" for value in cell.scores[..., DICE].mean(axis=(0, 1))]
    surface, hd95 = (known_mean(cell.scores[..., k]) for k in (SURFACE, HD95))
    failed = 100 * float((cell.dice < 50).mean())
    return [
        *(_number(n), ARMS[arm].title, str(len(values))),
        *(f"{values.mean():.2f}{spread}", f"{np.median(values):.2f}", *labels),
        *(f"{surface:.3f}", f"{hd95:.2f}", f"{failed:.1f}"),
    ]


def _differences(found: Cells, n: int, arm_of_ours: str) -> list[list[str]]:
    """DRDM minus every other arm."""
    ours = found.get((n, arm_of_ours))
    if ours is None:
        return []
    lines = []
    for arm in ARMS:
        other: Cell | None = found.get((n, arm))
        difference = None if arm == arm_of_ours or other is None else paired(ours, other)
        if difference is None:
            continue
        better = int((difference.by_subset > 0).sum())
        lines.append(
            [
                *(_number(n), ARMS[arm].title, f"{difference.mean:+.2f}"),
                *(_range(difference.over_subsets), _range(difference.over_both)),
                f"{better} of {len(difference.by_subset)}",
            ]
        )
    return lines


def _gaps(found: Cells, arm: str) -> list[list[str]]:
    """Share of the gap to all subjects that DRDM closes."""
    lines = []
    for n in _NUMBERS[:-1]:
        other, closed = best_other(found, n, arm), gap_closed(found, n, arm)
        if other is not None:
            told = (_NONE, "") if closed is None else (f"{closed[0]:.2f}", _range(closed[1]))
            lines.append([_number(n), ARMS[other].title, *told])
    return lines


def _tuning(rows: Sequence[Row], tuning: list[Run], chosen: dict[str, Any]) -> list[str]:
    """What was tried on the subsets of tuning."""
    found = tuning_means(rows, [run.key for run in tuning])
    if not found:
        return []
    lines = []
    for (arm, text), values in found.items():
        setting = json.loads(text)[ARMS[arm].kinds[0]]
        told = ", ".join(f"{name} {value}" for name, value in setting.items())
        best = "**chosen**" if chosen.get(arm) == setting else ""
        lines.append([arm, told, str(len(values)), f"{np.mean(values):.2f}", best])
    head = ["arm", "setting (p: share of deformed samples)", "subsets", "Dice", ""]
    title = "## Tuning, on subsets and subjects of its own"
    return [title, "", *table(head, lines), ""]


def _fields(records: Records) -> list[str]:
    """How far the random field matches the recovered ones."""
    if not records.fields.is_file():
        return []
    found = json.loads(records.fields.read_text(encoding="utf-8"))
    quantiles = [f"{q} %" for q in matching.QUANTILES]
    head = ["field", "mean voxels", "sd", "in common", "rms gradient", "sd of det J"]
    lines = [
        [
            *(kind, f"{each['mean_voxels']:.2f}", f"{each['sd_of_mean']:.2f}"),
            f"{each['common']:.2f}",
            *(f"{each['gradient']:.3f}", f"{each['determinant_sd']:.3f}"),
            *(f"{value:.2f}" for value in each["quantiles"]),
            f"{each['folded_percent']:.4f}",
        ]
        for kind, each in found.items()
    ]
    spacing = found["random"]["control_spacing"], found["drdm"]["control_spacing"]
    return [
        "## The fields",
        "",
        f"{found['drdm']['fields']} fields of the tuned settings; the quantiles are those of "
        "det J. *In common*: the mean product of two fields of a subject, relative to that of a "
        "field with itself (0: independent, 1: equal). Each random field has the mean displacement "
        "of a recovered one of the same subject; how rough it is is set by the distance of "
        f"its control points, {spacing[0]:.2f} voxels instead of {spacing[1]:g}, on validation "
        "subjects.",
        "",
        *table([*head, *quantiles, "folded %"], lines),
        "",
    ]


def _number(n: int) -> str:
    """A number of labelled subjects."""
    return "all" if n == ALL else str(n)


def _by_number(values: Any) -> str:
    """Numbers by number of labelled subjects."""
    return ", ".join(f"{_number(n)}: {value}" for n, value in values.items())


def _range(interval: tuple[float, float] | None) -> str:
    """An interval."""
    return "one subset" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"
