"""Finished subjects, a file each, and the tables that are made of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError, MissingFileError
from Testing.Experiments.by_level.measuring import Measured, Row
from Testing.Experiments.by_level.plan import Plan, plan_of

_FIRST = ("part", "subject", "kind", "level", "number", "seed")
_WHOLE = ("level", "number", "seed", "nearest", "beyond", "passed_over")
_TEXTS = ("part", "subject", "kind", "covered")


@dataclass(frozen=True)
class Results:
    """All that the page is made of.

    Attributes:
        plan: What was measured.
        facts: Where, when and with what, as lines of Markdown.
        rows: One per sample, and one per subject as it is.
        histograms: Voxels by bin of log2 det J, by part, then by kind and level.
    """

    plan: Plan
    facts: list[str]
    rows: list[Row]
    histograms: dict[str, dict[str, list[int]]]


@dataclass(frozen=True)
class Places:
    """Where the files of one model are.

    Attributes:
        model: Its name.
        working: Folder of the files of finished subjects, of all plans.
        results: Folder of tables, page and pictures.
    """

    model: str
    working: Path
    results: Path

    def result(self, ending: str) -> Path:
        """A file of results, such as `.csv`."""
        return self.results / f"plausibility-by-level-{self.model}{ending}"

    def unit(self, plan: Plan, part: str, name: str) -> Path:
        """The file of a finished subject."""
        return self.working / f"{self.model}-{plan.digest}" / f"{part}-{name}.json"


def keep(measured: Measured, path: Path) -> None:
    """Write a finished subject."""
    write_text_whole(path, json.dumps(asdict(measured)))


def gathered(places: Places, plan: Plan, facts: Sequence[str]) -> Results:
    """The results of a plan whose subjects are all finished."""
    rows: list[Row] = []
    histograms: dict[str, dict[str, list[int]]] = {}
    for part, names in plan.subjects.items():
        summed: dict[str, Any] = {}
        for name in names:
            content = json.loads(places.unit(plan, part, name).read_text(encoding="utf-8"))
            rows += content["rows"]
            for key, counts in content["histograms"].items():
                summed[key] = summed.get(key, 0) + np.array(counts)
        histograms[part] = {key: counts.tolist() for key, counts in summed.items()}
    return Results(plan, list(facts), rows, histograms)


def write_tables(results: Results, places: Places) -> None:
    """Write the table of samples, and beside it the plan and the histograms."""
    columns = list(dict.fromkeys([*_FIRST, *(key for row in results.rows for key in row)]))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _text(value) for key, value in row.items()} for row in results.rows)
    write_text_whole(places.result(".csv"), lines.getvalue())
    beside = {
        "plan": asdict(results.plan),
        "facts": results.facts,
        "histograms": results.histograms,
    }
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in beside.items())
    write_text_whole(places.result(".json"), f"{{\n{text}\n}}\n")


def read_tables(places: Places) -> Results:
    """What `write_tables` wrote.

    Raises:
        MissingFileError: If the experiment was not run.
        InputError: If a table cannot be read.
    """
    table, beside = places.result(".csv"), places.result(".json")
    for path in (table, beside):
        if not path.is_file():
            raise MissingFileError(f"{path} must be there, but is not: `run` writes it.")
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        with table.open(encoding="utf-8", newline="") as file:
            rows = [_read(row) for row in csv.DictReader(file)]
        return Results(plan_of(content["plan"]), content["facts"], rows, content["histograms"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{table} and {beside.name} must be tables of this experiment, but cannot be read "
            f"({error}): `run` writes them anew."
        ) from error


def _text(value: object) -> object:
    """Five digits are enough; what is not known is empty."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else value


def _read(row: Mapping[str, str]) -> Row:
    """Numbers from their text."""
    found: Row = {}
    for key, text in row.items():
        if key in _TEXTS:
            found[key] = text
        elif text != "":
            found[key] = int(text) if key in _WHOLE else float(text)
    return found
