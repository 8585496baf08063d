"""The page of results: what the arms reach, how they differ, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from DRDMCore.atomic import write_text_whole
from Testing.Benchmarks.machine import table
from Testing.Experiments.few_shot import matching
from Testing.Experiments.few_shot.measures import known_mean
from Testing.Experiments.finished import Row
from Testing.Experiments.planned import Setting, missing_in_words
from Testing.Experiments.registration.arms import ARMS, TUNED
from Testing.Experiments.registration.chart import draw_chart
from Testing.Experiments.registration.numbers import (
    Cell,
    Estimate,
    cells,
    dice,
    estimate,
    paired,
    surface,
)
from Testing.Experiments.registration.plan import Run, best_settings, test_runs, tuning_runs
from Testing.Experiments.registration.records import Records
from Testing.Experiments.registration.study import Study

_PICTURE = (
    "*Test pairs as the first network of each arm registers them, with the outlines of the fixed "
    "subject's labels in every image; below, the grid that the moving image is deformed by.*"
)
_PROGRAM = "python -m Testing.Experiments.registration"


def write_page(study: Study, records: Records) -> None:
    """Write the tables, the page and the chart of a study.

    Args:
        study: The study.
        records: Its results.
    """
    records.write()
    rows = records.rows()
    tuning = list(tuning_runs(study))
    chosen = best_settings(rows, study)
    runs = test_runs(study, chosen) if set(chosen) == set(TUNED) else []
    found = cells(rows, records.scores(), [run.key for run in runs])
    used = [row for row in rows if row["key"] in {run.key for run in [*tuning, *runs]}]
    lines = [
        f"# Registration: {study.data.title}",
        "",
        f"Written by `{_PROGRAM} page` from [{records.table.name}]({records.table.name}) (a row "
        f"per run) and [{records.by_subject.name}]({records.by_subject.name}) (scores per pair); "
        "how it is made and run: `Testing/Experiments/README.md`.",
        "",
        *_facts(study, used, tuning, runs),
        *_results(study, found, records),
        *_missed(used, found),
        *_tuning(used, tuning, chosen),
        *_fields(records),
    ]
    if found:
        draw_chart(found, records.table.with_suffix(".png"))
    write_text_whole(records.table.with_suffix(".md"), "\n".join(lines) + "\n")


def _facts(study: Study, used: Sequence[Row], tuning: list[Run], runs: list[Run]) -> list[str]:
    """How it was measured and what is missing."""
    settings = study.training
    hours = sum(float(row["seconds"]) + float(row["drawing_seconds"]) for row in used) / 3600
    cpu = sum(float(row["cpu_seconds"]) for row in used) / 3600
    missing = missing_in_words(used, tuning, runs, lambda run: run.arm)
    return [
        f"- runs: {len(used)} finished, {hours:.1f} hours together, {cpu:.1f} CPU hours of "
        f"training and scoring; {missing}",
        f"- network: correlation layers and a small U-Net, features {settings.features} at half, a "
        f"quarter and an eighth of the resolution, {settings.precision}; the velocity at half "
        "resolution is integrated by scaling and squaring; "
        f"{settings.iterations} steps of {settings.batch} pairs, AdamW {settings.learning_rate:g} "
        "with cosine",
        "- loss on made pairs: end-point error in voxels "
        f"+ {settings.similarity:g} x (1 - squared local correlation); on real pairs: 1 - squared "
        "local correlation + smoothness x mean square of the velocity's slopes",
        f"- generator: {study.data.generator}. It has seen the images of the training part, as all "
        "networks have, and never a test subject; its checkpoint was chosen on the validation part",
        "- split: that of the generator's training; tuned on real pairs of the validation part, "
        "reported on real pairs of the test part, with the last weights of each training. No "
        "network and no loss sees a label",
        f"- devices: {'; '.join(sorted({row['device'] for row in used})) or 'none'}",
        f"- versions: {', '.join(sorted({row['versions'] for row in used})) or 'none'}",
        f"- commits: {', '.join(sorted({row['commit'] for row in used})) or 'none'}",
        "- reduced, for two cores: small network and short training; affine maps are not found "
        "before; the network is not fitted to the single pair; no arm with labels",
        "",
    ]


def _results(study: Study, found: Mapping[str, Cell], records: Records) -> list[str]:
    """Tables of scores and of differences."""
    if not found:
        return ["## Results", "", "No run of the test is finished yet.", ""]
    labels = list(study.data.values.values())
    pairs = max(len(cell.pairs) for cell in found.values())
    head = ["trained on", "networks", "Dice", "95 %", *labels, "surface mm", "HD95 mm"]
    chart = records.table.with_suffix(".png").name
    shown = [f"![Registered pairs]({records.pictures.name})", "", _PICTURE, ""]
    shown *= records.pictures.is_file()
    return [
        "## Results",
        "",
        f"![Dice of all pairs]({chart})",
        "",
        *shown,
        f"{pairs} ordered pairs of the test subjects. Dice in percent, mean over labels and pairs; "
        "± is the standard deviation over networks; *95 %*: networks and subjects drawn anew "
        "(bootstrap; a pair counts as often as both its subjects were drawn). *Folded*: voxels "
        "where a determinant of one-sided differences is not positive.",
        "",
        *table(
            [*head, "displacement mm", "folded %", "least det J"],
            [_line(arm, found[arm]) for arm in ARMS if arm in found],
        ),
        "",
        "## DRDM against the others",
        "",
        "On the same pairs, with the same first weights, subjects, poses and grey values. A higher "
        "Dice and a smaller surface distance are better.",
        "",
        *table(
            ["DRDM minus", "Dice", "95 %", "surface mm", "95 %", "pairs with a higher Dice"],
            _differences(found),
        ),
        "",
    ]


def _line(arm: str, cell: Cell) -> list[str]:
    """One arm."""
    told = estimate(cell)
    spread = f" ± {told.by_seed.std(ddof=1):.2f}" if len(told.by_seed) > 1 else ""
    labels = [f"{value:.2f}" for value in cell.scores[..., 0].mean(axis=(0, 1))]
    surface_mm, hd95 = (known_mean(cell.scores[..., k]) for k in (1, 2))
    return [
        *(ARMS[arm].title, str(len(cell.seeds) or "-"), f"{told.mean:.2f}{spread}"),
        *(_range(told, plus=False), *labels, f"{surface_mm:.3f}", f"{hd95:.2f}"),
        *(f"{cell.fields[..., 0].mean():.2f}", f"{cell.fields[..., 1].mean():.4f}"),
        f"{cell.fields[..., 2].min():.3f}",
    ]


def _differences(found: Mapping[str, Cell]) -> list[list[str]]:
    """DRDM minus every other arm."""
    lines = []
    for arm in ARMS:
        if arm == "drdm" or arm not in found or "drdm" not in found:
            continue
        ours, theirs = found["drdm"], found[arm]
        more, less = paired(ours, theirs, dice), paired(ours, theirs, surface)
        if more is None or less is None:
            continue
        better = (ours.dice.mean(axis=0) > theirs.dice.mean(axis=0)).mean()
        lines.append(
            [
                *(ARMS[arm].title, f"{more.mean:+.2f}", _range(more)),
                *(f"{less.mean:+.3f}", _range(less, digits=3), f"{100 * better:.0f} %"),
            ]
        )
    return lines


def _missed(used: Sequence[Row], found: Mapping[str, Cell]) -> list[str]:
    """End-point errors on made pairs of subjects that no network has seen."""
    lines = []
    for arm in ARMS:
        rows = [row for row in used if row["arm"] == arm and row["missed_drdm_voxels"]]
        if arm in found and rows:
            both = [[float(row[f"missed_{k}_voxels"]) for row in rows] for k in ("drdm", "random")]
            lines.append([ARMS[arm].title, *(f"{np.mean(each):.3f}" for each in both)])
    if not lines:
        return []
    return [
        "## Made pairs of held-out subjects",
        "",
        "Mean end-point error in voxels, on pairs made of validation subjects with the fields of "
        "both kinds.",
        "",
        *table(["trained on", "DRDM pairs", "random pairs"], lines),
        "",
    ]


def _tuning(used: Sequence[Row], tuning: list[Run], chosen: Mapping[str, Setting]) -> list[str]:
    """What was tried on validation pairs."""
    rows = {row["key"]: row for row in used}
    lines = []
    for run in tuning:
        if run.key not in rows:
            continue
        row, setting = rows[run.key], run.by_kind[ARMS[run.arm].kinds[0]]
        told = ", ".join(f"{name} {value}" for name, value in setting.items())
        best = "**chosen**" if chosen.get(run.arm) == setting else ""
        scores = [f"{float(row['dice']):.2f}", f"{float(row['folded_percent']):.4f}"]
        lines.append([ARMS[run.arm].title, told, *scores, best])
    if not lines:
        return []
    head = ["trained on", "setting", "Dice", "folded %", ""]
    return ["## Tuning, on pairs of validation subjects", "", *table(head, lines), ""]


def _fields(records: Records) -> list[str]:
    """How far the random field matches the recovered ones."""
    if not records.fields.is_file():
        return []
    found = json.loads(records.fields.read_text(encoding="utf-8"))
    quantiles = [f"{q} %" for q in matching.QUANTILES]
    head = ["field", "setting", "mean voxels", "sd", "rms gradient", "sd of det J", *quantiles]
    lines = [
        [
            *(kind, ", ".join(f"{k} {v}" for k, v in each["setting"].items())),
            *(f"{each['mean_voxels']:.2f}", f"{each['sd_of_mean']:.2f}"),
            *(f"{each['gradient']:.3f}", f"{each['determinant_sd']:.3f}"),
            *(f"{value:.2f}" for value in each["quantiles"]),
        ]
        for kind, each in found.items()
    ]
    spacing = found["random"]["control_spacing"], found["drdm"]["control_spacing"]
    return [
        "## The fields of made pairs",
        "",
        f"{found['drdm']['fields']} fields of validation subjects with the tuned settings, without "
        "the affine maps; the quantiles are those of det J. Each random field has the mean "
        "displacement of a recovered one of its own setting and subject; how rough it is is set by "
        f"the distance of its control points, {spacing[0]:.2f} voxels instead of {spacing[1]:g}.",
        "",
        *table(head, lines),
        "",
    ]


def _range(told: Estimate, *, plus: bool = True, digits: int = 2) -> str:
    """An interval."""
    sign = "+" if plus else ""
    return f"[{told.interval[0]:{sign}.{digits}f}, {told.interval[1]:{sign}.{digits}f}]"
