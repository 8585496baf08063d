"""Finished runs of registration: kept as those of few-shot segmentation are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DRDMCore.atomic import write_text_whole
from Testing.Experiments.few_shot import records as few_shot

COLUMNS = (
    *("key", "study", "stage", "seed", "arm", "settings", "iterations", "batch", "fields"),
    *("network", "rings", "pairs", "generator", "dice", "surface_mm", "hd95_mm"),
    *("displacement_mm", "folded_percent", "least_determinant", "by_label"),
    *("missed_drdm_voxels", "missed_random_voxels", "loss"),
    *("seconds", "cpu_seconds", "drawing_seconds", "device", "threads", "commit", "versions"),
)


class Records(few_shot.Records):
    """Where the results are: a row per run, and the scores of every pair."""

    @property
    def table(self) -> Path:
        """One row per run."""
        return self.results / f"registration-{self.name}.csv"

    @property
    def by_subject(self) -> Path:
        """One line of JSON per run: the scores of every pair, by `MOVING>FIXED`."""
        return self.results / f"registration-{self.name}-pairs.jsonl"

    @property
    def fields(self) -> Path:
        """What the fields of made pairs are like."""
        return self.results / f"registration-{self.name}-fields.json"

    @property
    def pictures(self) -> Path:
        """A few registered pairs."""
        return self.results / f"registration-{self.name}-pairs.png"

    def network(self, key: str) -> Path:
        """The weights of a run's network; they are not in the repository."""
        return self.folder / "networks" / f"{key}.safetensors"

    def finish(self, row: Mapping[str, Any], subjects: few_shot.Scores) -> None:
        """Keep a finished run, and make the tables anew."""
        written = {name: str(row[name]) for name in COLUMNS}
        text = json.dumps({"row": written, "subjects": subjects})
        write_text_whole(self.folder / "finished" / f"{row['key']}.json", text)
        self.write()

    def write(self) -> None:
        """The tables, sorted, so that they do not depend on the order of the runs."""
        rows = sorted(self.rows(), key=lambda row: row["key"])
        scores = self.scores()
        lines = io.StringIO()
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        kept = [
            json.dumps({"key": row["key"], "subjects": scores[row["key"]]}, separators=(",", ":"))
            for row in rows
            if row["key"] in scores
        ]
        write_text_whole(self.by_subject, "".join(f"{line}\n" for line in kept))
        write_text_whole(self.table, lines.getvalue())
