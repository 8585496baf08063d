"""Where the results of few-shot segmentation are."""

from __future__ import annotations

from pathlib import Path

from Testing.Experiments.finished import FinishedRuns

COLUMNS = (
    *("key", "study", "stage", "n", "subset", "arm", "settings", "iterations", "batch", "fields"),
    *("network", "seed", "labelled", "evaluated", "generator", "own_model_sha256"),
    *("dice", "surface_mm", "hd95_mm", "failed", "by_label", "loss"),
    *("seconds", "cpu_seconds", "drawing_seconds", "device", "threads", "commit", "versions"),
)


class Records(FinishedRuns):
    """A row per network, and the scores of every subject."""

    columns = COLUMNS

    @property
    def table(self) -> Path:
        """One row per run."""
        return self.results / f"few-shot-{self.name}.csv"

    @property
    def by_subject(self) -> Path:
        """One line of JSON per run: the scores of every subject."""
        return self.results / f"few-shot-{self.name}-subjects.jsonl"

    @property
    def fields(self) -> Path:
        """What the fields of the arms are like."""
        return self.results / f"few-shot-{self.name}-fields.json"

    @property
    def split(self) -> Path:
        """Names of the subjects by part."""
        return self.results / f"few-shot-{self.name}-split.json"

    @property
    def generators(self) -> Path:
        """Names and hashes of generators that are not bundled."""
        return self.results / f"few-shot-{self.name}-generators.json"
