"""What the transforms for MONAI and TorchIO cost, against the elastic ones of these libraries.

Needs both libraries: `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.data
import monai.transforms
import torch
import torchio
from torch import Tensor

from DRDMCore.adapters import RandDRDMd, RandomDRDM
from Testing.Benchmarks.fields_benchmark import interleaved
from Testing.Benchmarks.generation_cases import volumes
from Testing.Benchmarks.generation_peers import version
from Testing.Benchmarks.machine import facts, table, write_result

SEED = 0
COUNT = 8
REPEATS = 9
WORKERS, BATCH, ITEMS = 2, 4, 32
KEYS, MODES = ("image", "labels"), ("bilinear", "nearest")
TARGET = 1.1
_PAGE = "benchmark-adapters.md"
Job = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """An image with its labels, and the model that knows it.

    Attributes:
        title: What the page calls it.
        model: Name of a bundled model.
        kind: Phantom, or `hippocampus`: a real one if it is there.
        shape: Voxels.
    """

    title: str
    model: str
    kind: str
    shape: tuple[int, ...]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Image and labels, `(1, *S)`."""
        pair = volumes(self.kind, self.shape, 1.0)
        image, labels = (torch.from_numpy(each.array.T.copy())[None] for each in pair)
        return image.float(), labels


CASES = (
    Case("hippocampus 40x56x40", "hippocampus-mr-3d", "hippocampus", (40, 56, 40)),
    Case("torso 96^3", "phantom-torso-3d", "torso-3d", (96, 96, 96)),
    Case("heart 256^2", "phantom-heart-2d", "heart-2d", (256, 256)),
)


def monai_jobs(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    """An item, and transforms by name."""
    item = dict(zip(KEYS, map(monai.data.MetaTensor, case.tensors()), strict=True))
    common = {"keys": KEYS, "mode": MODES, "prob": 1.0, "padding_mode": "border"}
    elastic: Any = monai.transforms.Rand3DElasticd(
        sigma_range=(5, 8), magnitude_range=(100, 200), **common
    )
    if len(case.shape) == 2:
        elastic = monai.transforms.Rand2DElasticd(
            spacing=(20, 30), magnitude_range=(1, 2), **common
        )
    stored = RandDRDMd(model=case.model, folder=folder, count=COUNT, **common)
    stored.fill([item])
    varied = RandDRDMd(
        model=case.model, folder=folder, count=COUNT, amplitude=(0.5, 1), mix=0.5, **common
    )
    drawn = RandDRDMd(model=case.model, **common)
    made = {
        type(elastic).__name__: elastic,
        "RandDRDMd, stored fields": stored,
        "RandDRDMd, stored fields, varied": varied,
        "RandDRDMd, drawn at each call": drawn,
    }
    return item, {name: each.set_random_state(seed=SEED) for name, each in made.items()}


def torchio_jobs(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    """A subject, and transforms by name."""
    image, labels = (each if each.ndim == 4 else each[..., None] for each in case.tensors())
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=image), labels=torchio.LabelMap(tensor=labels)
    )
    stored = RandomDRDM(case.model, folder=folder, count=COUNT)
    stored.fill([subject])
    return subject, {
        "RandomElasticDeformation": torchio.RandomElasticDeformation(),
        "RandomDRDM, stored fields": stored,
        "RandomDRDM, stored fields, varied": RandomDRDM(
            case.model, folder=folder, count=COUNT, amplitude=(0.5, 1), mix=0.5
        ),
        "RandomDRDM, drawn at each call": RandomDRDM(case.model),
    }


def rows(case: Case, item: Any, transforms: dict[str, Any]) -> list[list[str]]:
    """Time of a transform on one subject, all interleaved; the first is the library's own."""
    jobs: dict[str, Job] = {
        name: lambda each=each: each(item)  # type: ignore[misc]
        for name, each in transforms.items()
    }
    for job in jobs.values():
        job()
    seconds = interleaved(jobs, REPEATS)
    base = statistics.median(next(iter(seconds.values())))
    made = []
    for name, each in seconds.items():
        middle = statistics.median(each)
        times = f"{1000 * middle:.1f} ({1000 * min(each):.1f}) ms"
        made.append([case.title, name, times, f"{middle / base:.3f}", _target(name)])
    return made


def loader_rows(case: Case, loaders: dict[str, Callable[[], Any]]) -> list[list[str]]:
    """Subjects per second out of a loader with workers that are running already."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(3):
        for name, make in loaders.items():
            rates[name].append(_rate(iter(make())))
    base = statistics.median(next(iter(rates.values())))
    return [
        [
            case.title,
            name,
            f"{statistics.median(each):.1f}",
            f"{base / statistics.median(each):.3f}",
            _target(name),
        ]
        for name, each in rates.items()
    ]


def _rate(batches: Iterator[Any]) -> float:
    """Subjects per second after the first batch."""
    next(batches)
    start = time.perf_counter()
    count = BATCH * len(list(batches))
    return count / (time.perf_counter() - start)


def _target(name: str) -> str:
    """The target of a way: none for the library's own, and for what is not meant to be quick."""
    return f"<= {TARGET}" if name.endswith("stored fields") else ""


def _loaders(
    monai_side: tuple[Any, dict[str, Any]], torchio_side: tuple[Any, dict[str, Any]]
) -> list[dict[str, Callable[[], Any]]]:
    """Loaders of each library, its own transform first, ours with stored fields second."""
    item, transforms = monai_side
    first = {
        name: lambda each=each: monai.data.DataLoader(
            monai.data.Dataset([item] * ITEMS, each), batch_size=BATCH, num_workers=WORKERS
        )
        for name, each in itertools.islice(transforms.items(), 2)
    }
    subject, others = torchio_side
    second = {
        name: lambda each=each: torchio.SubjectsLoader(
            torchio.SubjectsDataset([subject] * ITEMS, transform=each),
            batch_size=BATCH,
            num_workers=WORKERS,
        )
        for name, each in itertools.islice(others.items(), 2)
    }
    return [first, second]


def measured(folder: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of single calls, and of loaders."""
    single, loaded = [], []
    for case in CASES:
        ways = monai_jobs(case, folder), torchio_jobs(case, folder)
        single += [row for item, transforms in ways for row in rows(case, item, transforms)]
        loaded += [row for loaders in _loaders(*ways) for row in loader_rows(case, loaders)]
    return single, loaded


def page(note: str = "") -> list[str]:
    """All measurements as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        single, loaded = measured(Path(folder))
    packages = ", ".join(f"{name} {version(name)}" for name in ("monai", "torchio"))
    return [
        "# Benchmark: transforms for MONAI and TorchIO",
        "",
        "`python -m Testing.Benchmarks.adapters_benchmark` writes this page. One image with its",
        "labels, from tensors to tensors. MONAI's elastic transform has the smoothing and strength",
        f"of its documentation's example, TorchIO's its own defaults. {COUNT} stored fields;",
        "`varied`: `amplitude=(0.5, 1)` and `mix=0.5`, with a look for folds. Ratios are of times:",
        "below 1 ours is quicker.",
        "",
        *facts(str(SEED)),
        f"- packages: {packages}",
        *([f"- note: {note}"] if note else []),
        "",
        "## One call",
        "",
        "Medians (and shortest).",
        "",
        *table(["case", "transform", "time", "ratio", "target"], single),
        "",
        f"## Loader of {WORKERS} workers, batches of {BATCH}",
        "",
        *table(["case", "transform", "subjects/s", "ratio", "target"], loaded),
    ]


def main(arguments: list[str] | None = None) -> Path:
    """Measure and write docs/results/benchmark-adapters.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--note", default="", help="what else the page should say")
    return write_result(_PAGE, page(parser.parse_args(arguments).note))


if __name__ == "__main__":
    print(main().read_text(encoding="utf-8"))
