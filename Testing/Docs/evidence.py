"""Fill the tables of docs/evidence.md from the results of the experiments; its prose stays.

python -m Testing.Docs.evidence
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from DRDMCore.atomic import write_text_whole
from Testing.Benchmarks.machine import REPOSITORY, RESULTS, table
from Testing.Experiments.by_level import numbers as by_level
from Testing.Experiments.by_level.plan import MATCHED, REPORTED
from Testing.Experiments.by_level.plan import RECOVERED as BY_RECOVERY
from Testing.Experiments.by_level.records import Places, read_tables
from Testing.Experiments.by_level.wording import ranged
from Testing.Experiments.few_shot import arms, numbers, slices
from Testing.Experiments.few_shot.generators import Generators
from Testing.Experiments.few_shot.plan import reported_keys
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.study import ALL, STUDIES
from Testing.Experiments.registration import arms as registration_arms
from Testing.Experiments.registration import numbers as registration
from Testing.Experiments.registration.records import Records as RegistrationRecords

PAGE = REPOSITORY / "docs" / "evidence.md"
NOT_YET = "Not measured yet."
ENOUGH = 4
"""Labelled subsets below which a difference is no verdict."""
_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MEASURES = (
    ("excess: 0 as real subjects, 1 as random fields of the same size", "excess", ".2f", 1),
    ("mean volume / original", "ratio_all", ".2f", 1),
    ("coverage of the real shapes, %", "coverage", ".0f", 100),
    ("shapes beyond the real ones, %", "beyond", ".0f", 1),
    ("diversity (1: as between real subjects)", "diversity", ".2f", 1),
    ("mean displacement, voxels", "mean_voxels", ".2f", 1),
)


def filled(text: str, results: Path = RESULTS) -> str:
    """The page with its tables made anew.

    Args:
        text: The page, with blocks `<!-- table: NAME -->` to `<!-- end -->`.
        results: Folder of the results.

    Raises:
        KeyError: If a block has an unknown name.
    """

    def made(match: re.Match[str]) -> str:
        lines = TABLES[match[2]](results)
        return "\n".join([match[1], *lines, "", match[3]])

    return _BLOCK.sub(made, text)


def segmentation(results: Path) -> list[str]:
    """Every arm against affine + intensity, by data set and number of labelled subjects."""
    rows = [row for name in STUDIES for row in _gain_rows(name, results)]
    head = ["data", "labelled", "augmented with", "subsets", "Dice", "more than affine + intensity"]
    return table([*head, "95 %", "verdict"], rows) if rows else [NOT_YET]


def against_best(results: Path) -> list[str]:
    """Arms with recovered fields against the best arm without."""
    rows = [row for name in STUDIES for row in _study_rows(name, results)]
    head = ["data", "labelled", "subsets", "augmented with", "best arm without DRDM", "difference"]
    return table([*head, "95 %", "verdict"], rows) if rows else [NOT_YET]


def registering(results: Path) -> list[str]:
    """Every arm of the registration experiment, and how DRDM's pairs differ from it."""
    records = RegistrationRecords("hippocampus", results, results)
    rows = records.rows()
    found = registration.cells(rows, records.scores(), [row["key"] for row in rows])
    if not found:
        return [NOT_YET]
    lines = []
    for arm, about in registration_arms.ARMS.items():
        if arm not in found:
            continue
        scored = registration.estimate(found[arm])
        minus = registration.paired(found["drdm"], found[arm]) if "drdm" in found else None
        own = arm == "drdm" or minus is None
        told = ("", "", "") if own or minus is None else _against(minus.mean, minus.interval)
        folded = found[arm].fields[..., 1].mean()
        count = str(len(found[arm].seeds) or "-")
        lines.append([about.title, count, f"{scored.mean:.2f}", f"{folded:.3f}", *told])
    head = ["trained on", "networks", "Dice", "folded %", "made pairs, DRDM, minus it"]
    return table([*head, "95 %", "verdict"], lines)


def plausibility(results: Path) -> list[str]:
    """Recovered samples beside random ones of the same size, at the level to start from."""
    lines = []
    for advice in sorted(results.glob("plausibility-by-level-*-advice.json")):
        told = json.loads(advice.read_text(encoding="utf-8"))
        read = read_tables(Places(told["model"], results, results))
        cells, level = by_level.cells(read), told["start"]
        ours, matched = (
            by_level.summary(cells, (REPORTED, kind, level)) for kind in (BY_RECOVERY, MATCHED)
        )
        for title, name, form, factor in _MEASURES:
            both = (
                ranged(each[name], form, factor) if name in each else "" for each in (ours, matched)
            )
            lines.append([f"`{told['model']}`, level {level}", title, *both])
    return table(["model", "measure", "recovered", "random, same size"], lines) or [NOT_YET]


TABLES: Mapping[str, Callable[[Path], list[str]]] = {
    "segmentation": segmentation,
    "against-best": against_best,
    "registration": registering,
    "plausibility": plausibility,
}


def _few_shot_cells(name: str, results: Path) -> numbers.Cells:
    """The finished runs of the test of a study."""
    records = Records(name, results, results)
    study = Generators(STUDIES[name], records, results).identified()
    rows = records.rows()
    keys = reported_keys(study, rows)
    return numbers.cells(rows, records.scores(), keys, lambda each: slices.patient_of(study, each))


def _counts(found: numbers.Cells) -> list[int]:
    """Numbers of labelled subjects, all of them last."""
    return sorted({n for n, _ in found}, key=lambda n: (n == ALL, n))


def _study_rows(name: str, results: Path) -> list[list[str]]:
    """A row per number of labelled subjects and arm with recovered fields."""
    found = _few_shot_cells(name, results)
    lines = []
    for n in _counts(found):
        for arm, about in arms.ARMS.items():
            other = numbers.best_other(found, n, arm)
            if other is None or not about.generated:
                continue
            difference = numbers.paired(found[n, arm], found[n, other])
            if difference is None:
                continue
            best, ours = (arms.ARMS[each].title.lstrip("+ ") for each in (other, arm))
            count = str(len(difference.by_subset))
            lines.append([name, _labelled(n), count, ours, best, *_over_subsets(difference)])
    return lines


def _gain_rows(name: str, results: Path) -> list[list[str]]:
    """A row per number of labelled subjects and arm: what it adds to affine + intensity."""
    found = _few_shot_cells(name, results)
    lines = []
    for n in _counts(found):
        for arm, about in arms.ARMS.items():
            if (n, arm) not in found or (n, "affine") not in found:
                continue
            cell, plain = found[n, arm], found[n, "affine"]
            difference = numbers.paired(cell, plain)
            if arm == "affine" or difference is None:
                told = ("", "", "")
            else:
                told = _over_subsets(difference)
            dice = f"{cell.by_subset.mean():.2f}"
            lines.append([name, _labelled(n), about.title, str(len(cell.subsets)), dice, *told])
    return lines


def _labelled(n: int) -> str:
    """A number of labelled subjects."""
    return "all" if n == ALL else str(n)


def verdict_of(interval: tuple[float, float], subsets: int = ENOUGH) -> str:
    """What a 95 % interval of a difference of Dice means, if enough subsets were measured."""
    if subsets < ENOUGH:
        return "too few subsets"
    if interval[0] > 0:
        return "**better**"
    return "**worse**" if interval[1] < 0 else "no sure difference"


def _against(
    mean: float, interval: tuple[float, float], subsets: int = ENOUGH
) -> tuple[str, str, str]:
    """A difference of Dice, its interval, and what that means."""
    low, high = interval
    return f"{mean:+.2f}", f"[{low:+.2f}, {high:+.2f}]", verdict_of(interval, subsets)


def _over_subsets(difference: numbers.Difference) -> tuple[str, str, str]:
    """The same of a difference between arms of few-shot segmentation.

    Of a few subsets the bootstrap's interval is too narrow, so that over subsets has to agree.
    """
    count = len(difference.by_subset)
    mean, told, verdict = _against(difference.mean, difference.over_both, count)
    if difference.over_subsets is None or verdict == verdict_of(difference.over_subsets, count):
        return mean, told, verdict
    return mean, told, "no sure difference"


def main() -> None:
    """Write the page."""
    write_text_whole(PAGE, filled(PAGE.read_text(encoding="utf-8")))
    print(PAGE)


if __name__ == "__main__":
    main()
