"""Where the results of registration are."""

from __future__ import annotations

from pathlib import Path

from Testing.Experiments.finished import FinishedRuns

COLUMNS = (
    *("key", "study", "stage", "seed", "arm", "settings", "iterations", "batch", "fields"),
    *("network", "rings", "pairs", "generator", "dice", "surface_mm", "hd95_mm"),
    *("displacement_mm", "folded_percent", "least_determinant", "by_label"),
    *("missed_drdm_voxels", "missed_random_voxels", "loss"),
    *("seconds", "cpu_seconds", "drawing_seconds", "device", "threads", "commit", "versions"),
)


class Records(FinishedRuns):
    """A row per run, and the scores of every pair."""

    columns = COLUMNS

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
