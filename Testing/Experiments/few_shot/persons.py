"""Two volumes of one person on both sides of the split: who they are, and what they change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from Testing.Benchmarks.machine import table
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.numbers import Cell, Cells, paired
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.study import ALL, Study


def alone(split: dict[str, list[str]], study: Study) -> list[str]:
    """Test subjects none of whose person's volumes is in the training part.

    Args:
        split: Names by part.
        study: Says how persons are told.
    """
    if study.person_of is None:
        return list(split["test"])
    seen = {study.person_of(name) for name in split["training"]}
    return [name for name in split["test"] if study.person_of(name) not in seen]


def restricted(found: Cells, names: list[str]) -> Cells:
    """The same runs, scored on some of the test subjects.

    Raises:
        ValueError: If a cell does not name its subjects, or has none of these.
    """
    return {place: _restricted(cell, names) for place, cell in found.items()}


def persons_section(study: Study, records: Records, found: Cells) -> list[str]:
    """Lines of Markdown: DRDM against the others without test subjects whose partner was seen."""
    if study.person_of is None or not records.split.is_file() or not found:
        return []
    split = json.loads(records.split.read_text(encoding="utf-8"))
    names = alone(split, study)
    fewer = restricted(found, names)
    lines = []
    order = [*ARMS]
    for n, arm in sorted(found, key=lambda at: (at[0] == ALL, at[0], order.index(at[1]))):
        if arm == "drdm" or (n, "drdm") not in found:
            continue
        whole, part = (paired(cells[n, "drdm"], cells[n, arm]) for cells in (found, fewer))
        if whole is None or part is None:
            continue
        low, high = part.over_both
        told = f"{whole.mean:+.2f}", f"{part.mean:+.2f}", f"[{low:+.2f}, {high:+.2f}]"
        lines.append(["all" if n == ALL else str(n), ARMS[arm].title, *told])
    head = ["n", "DRDM minus", f"{len(split['test'])} subjects", f"{len(names)} alone", "both"]
    return [
        "## Both sides of one person",
        "",
        f"{study.persons} So {len(split['test']) - len(names)} of the {len(split['test'])} test "
        "subjects have their other side in the training part. The same differences on the others "
        "alone:",
        "",
        *table(head, lines),
        "",
    ]


def _restricted(cell: Cell, names: list[str]) -> Cell:
    """A cell on some of its subjects."""
    kept = np.isin(np.array(cell.patients), names)
    if not kept.any():
        raise ValueError(f"`names` must be subjects of the cell, got {names[:3]}.")
    patients = tuple(np.array(cell.patients)[kept].tolist())
    return replace(cell, scores=cell.scores[:, kept], patients=patients)
