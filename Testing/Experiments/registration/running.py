"""Make the runs of a plan, one by one, and take up where a killed program stopped."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from DRDMCore.atomic import write_text_whole, written_whole
from DRDMCore.pipelines.augment_plan import derived_seed
from Testing.Experiments.few_shot import matching, registering
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.subjects import Example, Subjects
from Testing.Experiments.planned import TUNING, Setting, circumstances, make_missing
from Testing.Experiments.registration.arms import REAL
from Testing.Experiments.registration.judging import (
    Judged,
    Method,
    endpoint_error,
    judged,
    summed_up,
)
from Testing.Experiments.registration.pairs import MadePairs, RealPairs, Source
from Testing.Experiments.registration.plan import Run, real_pairs
from Testing.Experiments.registration.records import Records
from Testing.Experiments.registration.study import Study
from Testing.Experiments.registration.training import built, registered, trained

_PACKAGES = ("torch", "numpy", "SimpleITK")
_SHOWN = 16, 6
"""Subjects, and fields of each, from which the table of fields is made."""


@dataclass(frozen=True)
class Bench:
    """What runs need.

    Attributes:
        study: What is compared.
        subjects: The data.
        cache: The fields.
        records: Where results go.
        chosen: Tuned setting by arm, as far as it is known: what held-out pairs are made with.
        device: Where networks are trained.
        tell: Told what is being done.
    """

    study: Study
    subjects: Subjects
    cache: FieldCache
    records: Records
    chosen: Mapping[str, Setting]
    device: str = "cpu"
    tell: Callable[[str], object] = lambda _: None


def make_runs(bench: Bench, runs: Sequence[Run], limit: int | None = None) -> int:
    """Make the runs that are not finished, as `make_missing` does."""
    make = functools.partial(make_run, bench)
    return make_missing(bench.records, runs, make, bench.tell, limit)


def make_run(bench: Bench, run: Run) -> None:
    """Train a network where the arm has one, register the real pairs, and keep the row."""
    begun = time.perf_counter()
    seed = derived_seed(0, run.study, "registration", run.stage, run.seed)
    sources = [source(bench, run, kind, seed) for kind in run.by_kind]
    started, cpu = time.perf_counter(), time.process_time()
    method, loss = _method(bench, run, sources, seed)
    found = register_all(bench, run, method)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    missed = {} if run.stage == TUNING else _missed(bench, method)
    row = {
        **asdict(run),
        "key": run.key,
        "pairs": len(found),
        **summed_up(found),
        **{f"missed_{kind}_voxels": missed.get(kind, "") for kind in ("drdm", "random")},
        "loss": loss,
        "seconds": f"{seconds:.1f}",
        "cpu_seconds": f"{cpu_seconds:.1f}",
        "drawing_seconds": f"{started - begun:.1f}",
        **circumstances(bench.device, _PACKAGES),
    }
    bench.records.finish(row, found)
    bench.tell(f"  Dice {row['dice']}, folded {row['folded_percent']} %, {row['seconds']} s")


def source(bench: Bench, run: Run, kind: str, seed: int) -> Source:
    """The pairs of a kind, of training subjects."""
    names = bench.subjects.parts["training"]
    if kind == REAL:
        return RealPairs([bench.subjects.example(name).image for name in names], seed=seed)
    return _made(bench, kind, run.by_kind[kind], names, run.fields, seed)


def register_all(bench: Bench, run: Run, method: Method) -> dict[str, Judged]:
    """Scores of a method by `MOVING>FIXED`: validation pairs in tuning, test pairs else."""
    names = bench.subjects.parts["validation" if run.stage == TUNING else "test"]
    values = tuple(bench.study.data.values)
    found = {}
    for first, second in real_pairs(names, [int(far) for far in run.rings.split()]):
        moving, fixed = bench.subjects.example(first), bench.subjects.example(second)
        found[f"{first}>{second}"] = judged(method(moving, fixed), moving, fixed, values)
    return found


def kept_method(bench: Bench, run: Run) -> Method | None:
    """The method of a finished run again; `None` where its weights are not on this machine."""
    if not run.by_kind:
        return _WITHOUT_NETWORK[run.arm]
    path = bench.records.network(run.key)
    if not path.is_file():
        return None
    network = built(bench.study, 0)
    network.load_state_dict(load_file(path))
    return functools.partial(registered, network.to(bench.device).eval(), device=bench.device)


def describe_fields(bench: Bench) -> None:
    """Write what fields of the tuned settings are like, on validation subjects.

    Nothing is done where they have been described.
    """
    place = bench.records.fields
    told = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    kinds = {kind: dict(bench.chosen[kind]) for kind in ("drdm", "random")}
    if all(told.get(kind, {}).get("setting") == kinds[kind] for kind in kinds):
        return
    found: dict[str, Any] = {}
    for kind, setting in kinds.items():
        drawn = []
        for name in bench.subjects.parts["validation"][: _SHOWN[0]]:
            shape = bench.subjects.volumes(name)[0].geometry.shape
            rows = bench.cache.fields(kind, setting, name, bench.study.training.fields)
            drawn += [matching.inside(ddf, shape) for ddf in rows[: _SHOWN[1]]]
        found[kind] = {"setting": setting, **matching.statistics(drawn)}
    found["random"]["control_spacing"] = bench.cache.matched(kinds["random"])
    found["drdm"]["control_spacing"] = bench.cache.generator().field.control_spacing
    write_text_whole(place, json.dumps(found, indent=1) + "\n")


def _method(bench: Bench, run: Run, sources: Sequence[Source], seed: int) -> tuple[Method, str]:
    """What registers the pairs of a run, and the loss at the end of its training."""
    if not sources:
        return _WITHOUT_NETWORK[run.arm], ""
    network, loss = trained(
        bench.study,
        sources,
        run.iterations,
        seed=seed % 2**32,
        smoothness=float(run.by_kind.get(REAL, {}).get("smoothness", 0.0)),
        device=bench.device,
    )
    weights = {name: each.cpu() for name, each in network.state_dict().items()}
    with written_whole(bench.records.network(run.key)) as temporary:
        save_file(weights, temporary)
    return functools.partial(registered, network, device=bench.device), f"{loss:.5f}"


def _missed(bench: Bench, method: Method) -> dict[str, str]:
    """Mean end-point errors on pairs made of validation subjects, which no network has seen."""
    names = bench.subjects.parts["validation"]
    found = {}
    for kind in ("drdm", "random"):
        count = bench.study.training.fields
        pairs = _made(bench, kind, bench.chosen[kind], names, count, seed=0)
        found[kind] = f"{endpoint_error(method, pairs, len(names)):.4f}"
    return found


def _made(
    bench: Bench, kind: str, setting: Setting, names: Sequence[str], count: int, seed: int
) -> MadePairs:
    """Pairs made of some subjects."""
    fields = [bench.cache.fields(kind, setting, name, count) for name in names]
    images = [bench.subjects.example(name).image for name in names]
    return MadePairs(images, fields, seed=seed)


def _still(moving: Example, fixed: Example) -> np.ndarray:
    """No registration."""
    return np.zeros((fixed.image.ndim, *fixed.image.shape), dtype=np.float32)


_WITHOUT_NETWORK: dict[str, Method] = {"none": _still, "demons": registering.registered}
