"""Make the runs of a plan, one by one, and take up where a killed program stopped."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError
from DRDMCore.models import sha256_of
from DRDMCore.pipelines.augment_plan import derived_seed
from Testing.Experiments.few_shot import matching
from Testing.Experiments.few_shot.arms import ARMS, REGISTERED
from Testing.Experiments.few_shot.augmenting import Augmenter, Pool
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.measures import known_mean, scores
from Testing.Experiments.few_shot.network import segmented, trained
from Testing.Experiments.few_shot.plan import GENERATED, Run, labelled
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.study import Study
from Testing.Experiments.few_shot.subjects import Subjects
from Testing.Experiments.planned import TUNING, Setting, circumstances, make_missing

_PACKAGES = ("torch", "monai", "numpy", "SimpleITK")
_FAILED = 50.0
"""A subject whose mean Dice is below this counts as failed."""
_UNLABELLED = 24
"""Unlabelled subjects that each labelled one is registered with."""
_SHOWN = 8, 8
"""Subjects, and fields of each, from which the table of fields is made."""
_TUNED_AS = {"drdm": "drdm", "random": "drdm", "elastic": "elastic"}
"""Kinds of fields in that table, and the arm with whose setting they are drawn."""


@dataclass(frozen=True)
class Bench:
    """What runs need.

    Attributes:
        subjects: The data.
        cache: The fields.
        records: Where results go.
        own_models: Folder of generators trained on the labelled subjects alone, if any.
        device: Where networks are trained.
        tell: Told what is being done.
    """

    subjects: Subjects
    cache: FieldCache
    records: Records
    own_models: Path | None = None
    device: str = "cpu"
    tell: Callable[[str], object] = lambda _: None

    @property
    def study(self) -> Study:
        """The study of the subjects."""
        return self.subjects.study


def make_runs(bench: Bench, runs: Sequence[Run], limit: int | None = None) -> int:
    """Make the runs that are not finished, as `make_missing` does."""
    make = functools.partial(make_run, bench)
    return make_missing(bench.records, runs, make, bench.tell, limit)


def make_run(bench: Bench, run: Run) -> None:
    """Train a network, score it, and keep the row."""
    begun = time.perf_counter()
    names = labelled(run, bench.study, bench.subjects.parts["training"])
    seed = derived_seed(0, run.study, run.stage, run.subset)
    samples = [sample for name in names for sample in bench.subjects.samples(name)]
    augmenter = Augmenter(
        [bench.subjects.example(sample) for sample in samples],
        pools(bench, run, names, samples),
        moves=ARMS[run.arm].moves,
        seed=seed,
        pose=bench.study.training.pose,
    )
    started, cpu = time.perf_counter(), time.process_time()
    network, loss = trained(
        bench.study, augmenter, run.iterations, seed=seed % 2**32, device=bench.device
    )
    judged = bench.subjects.parts["validation" if run.stage == TUNING else "test"]
    found = _scores_of(bench, network, judged)
    row = {
        **asdict(run),
        "key": run.key,
        "seed": seed,
        "labelled": " ".join(names),
        "evaluated": len(found),
        **summed_up(found),
        "loss": f"{loss:.5f}",
        "seconds": f"{time.perf_counter() - started:.1f}",
        "cpu_seconds": f"{time.process_time() - cpu:.1f}",
        "drawing_seconds": f"{started - begun:.1f}",
        "own_model_sha256": _sha256_of_unbundled(bench, run),
        **circumstances(bench.device, _PACKAGES),
    }
    bench.records.finish(row, found)
    bench.tell(f"  Dice {row['dice']}, {row['seconds']} s")


def _scores_of(
    bench: Bench, network: torch.nn.Module, names: Sequence[str]
) -> dict[str, dict[str, list[float | None]]]:
    """Scores by stack and label of what a network finds in subjects."""
    subjects, found = bench.subjects, {}
    stacks = {key: value for name in names for key, value in subjects.stacks(name).items()}
    for stack, samples in stacks.items():
        examples = [subjects.example(sample) for sample in samples]
        labels = subjects.joined([segmented(network, each, bench.device) for each in examples])
        real = subjects.joined([each.labels for each in examples])
        each = scores(labels, real, bench.study.values, subjects.spacing(samples))
        found[stack] = {str(value): _rounded(each[value]) for value in each}
    return found


def pools(bench: Bench, run: Run, names: Sequence[str], samples: Sequence[str]) -> list[Pool]:
    """The fields that a run's samples are deformed by.

    Args:
        bench: What it needs.
        run: The run.
        names: Its labelled subjects.
        samples: Samples of them.
    """
    made = []
    for kind, setting in run.by_kind.items():
        if kind == "own":
            setting = {**setting, "model": str(_own_model(bench, run))}
        if kind in REGISTERED:
            partners = [(each, _partners(bench, kind, each, names)) for each in samples]
            fields = [bench.cache.registrations(*pair) for pair in partners]
            made.append(Pool(fields, setting["p"], least=0.2))
            continue
        fields = [bench.cache.fields(kind, setting, each, run.fields) for each in samples]
        made.append(Pool(fields, setting["p"]))
    return made


def _partners(bench: Bench, kind: str, sample: str, names: Sequence[str]) -> list[str]:
    """The samples that a sample is registered with: of labelled subjects, or of any to train on."""
    if kind == "registration":
        return bench.subjects.partners(sample, names)
    others = [name for name in bench.subjects.parts["training"] if name != sample]
    seed = derived_seed(0, sample, "partners") % 2**32
    return sorted(np.random.default_rng(seed).permutation(others)[:_UNLABELLED].tolist())


def describe_fields(
    bench: Bench, chosen: dict[str, Setting], names: Sequence[str], each: int
) -> None:
    """Write what recovered, random and elastic fields of the tuned settings are like.

    Nothing is done where they have been described.

    Args:
        bench: What it needs.
        chosen: Tuned setting by arm.
        names: Labelled subjects of the plan; the first few are looked at.
        each: Pre-drawn fields per subject.
    """
    kinds = {kind: (kind, chosen[tuned]) for kind, tuned in _TUNED_AS.items()}
    kinds |= {arm: ("drdm", chosen[arm]) for arm in chosen if arm not in _TUNED_AS}
    place = bench.records.fields
    told = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    known = {name: each["setting"] for name, each in told.items() if "common" in each}
    if all(known.get(name) == dict(kinds[name][1]) for name in kinds):
        return
    found: dict[str, Any] = {}
    for title, (kind, setting) in kinds.items():
        drawn: list[list[np.ndarray]] = []
        for name in (bench.subjects.shown(subject) for subject in names[: _SHOWN[0]]):
            shape = bench.subjects.own_shape(name)
            rows = bench.cache.fields(kind, setting, name, each)[: _SHOWN[1]]
            drawn.append([matching.inside(ddf, shape) for ddf in rows])
        found[title] = {
            "setting": dict(setting),
            **matching.statistics([ddf for ddfs in drawn for ddf in ddfs]),
            "common": float(np.mean([matching.common(ddfs) for ddfs in drawn])),
        }
    found["random"]["control_spacing"] = bench.cache.matched(chosen["drdm"])
    found["drdm"]["control_spacing"] = bench.cache.generator().field.control_spacing
    write_text_whole(place, json.dumps(found, indent=1) + "\n")


def summed_up(found: dict[str, dict[str, list[float | None]]]) -> dict[str, Any]:
    """Means over subjects and labels of the scores of a run, and the rate of failures.

    A surface distance is the mean of those that exist; a label that is not found has none.
    """
    table = np.array([list(each.values()) for each in found.values()], dtype=float)
    means = [known_mean(table[..., k]) for k in range(3)]
    labels = {
        value: [round(known_mean(table[:, number, k]), 4) for k in range(3)]
        for number, value in enumerate(next(iter(found.values())))
    }
    return {
        "dice": f"{means[0]:.4f}",
        "surface_mm": f"{means[1]:.4f}",
        "hd95_mm": f"{means[2]:.4f}",
        "failed": int((table[:, :, 0].mean(axis=1) < _FAILED).sum()),
        "by_label": json.dumps(labels, separators=(",", ":")),
    }


def _sha256_of_unbundled(bench: Bench, run: Run) -> str:
    """Of the generator that a run has to do with, if it is not one of the repository."""
    for kind, setting in run.by_kind.items():
        if kind == "own":
            return sha256_of(_own_model(bench, run))
        if kind in GENERATED and bench.study.trained is not None:
            return bench.cache.generator(setting.get("model")).sha256
    return ""


def _own_model(bench: Bench, run: Run) -> Path:
    """The generator that saw the run's labelled subjects alone."""
    name = f"n{run.n}-subset{run.subset}.safetensors"
    path = None if bench.own_models is None else bench.own_models / name
    if path is None or not path.is_file():
        raise InputError(
            f"`own-models` must be a folder with {name} for the arm drdm-own, got "
            f"{bench.own_models}: train it as Testing/Experiments/README.md says."
        )
    return path


def _rounded(score: tuple[float, float | None, float | None]) -> list[float | None]:
    """Few digits are enough, and the file stays small."""
    return [None if value is None else round(value, 3) for value in score]
