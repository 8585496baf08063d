"""Fields drawn before the training and kept: `(count, D, *S)` float16, voxels, a file per subject.

A field number `k` of a subject depends on its kind, its setting, the subject and `k` alone: a file
of more fields begins with those of a file of fewer.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DRDMCore.atomic import written_whole
from DRDMCore.errors import InputError
from DRDMCore.fields import compose, invert
from DRDMCore.imaging import ddf_from_field
from DRDMCore.models import Model, load_model
from DRDMCore.pipelines.augment_plan import derived_seed
from DRDMCore.pipelines.sampling import Sample, draw_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from Testing.Experiments.few_shot import matching
from Testing.Experiments.few_shot.registering import registered
from Testing.Experiments.few_shot.subjects import Subjects, fitted
from Testing.Experiments.planned import Setting, as_text
from Testing.Experiments.weights import weights_sha256

_SMOOTHED = 2.0
"""Voxels: deviation of the Gaussian by which recovered fields are smoothed in the arm that asks."""

Draws = Iterator[np.ndarray]


@dataclass
class FieldCache:
    """The fields of a study.

    Attributes:
        subjects: Whose fields they are.
        folder: Where they are kept.
        model: Name or file of the generator.
        device: Where it runs.
        tell: Told what is being drawn.
        others: Files of further generators, by the name that settings know them by.
    """

    subjects: Subjects
    folder: Path
    model: str
    device: str = "cpu"
    tell: Callable[[str], object] = lambda _: None
    others: Mapping[str, str] = field(default_factory=dict)
    _models: dict[str, Model] = field(default_factory=dict)

    def generator(self, name: str | None = None) -> Model:
        """The generator, or the model of another name or file."""
        name = name or self.model
        if name not in self._models:
            self._models[name] = load_model(self.others.get(name, name), device=self.device)
        return self._models[name]

    def fields(self, kind: str, setting: Setting, name: str, count: int) -> np.ndarray:
        """`(count, D, *S)` fields of a sample; read from the disk as they are needed.

        Args:
            kind: `drdm`, `own`, `random`, `between`, `smooth` or `elastic`.
            setting: How they are drawn; `p` does not matter here.
            name: The sample, as `Subjects.samples` names it.
            count: How many.
        """
        path = self._place(kind, setting) / f"{name}.npy"
        if path.is_file():
            kept = np.load(path, mmap_mode="r")
            if len(kept) >= count:
                return kept[:count]
        self.tell(f"drawing {count} {kind} fields of {name}")
        draws = self._draws(kind, setting, name, count)
        rows = [next(draws).astype(np.float16) for _ in range(count)]
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(rows))
        return np.load(path, mmap_mode="r")

    def registrations(self, name: str, others: list[str]) -> np.ndarray:
        """`(len(others), D, *S)` fields that make a sample look like others."""
        rows = []
        for other in others:
            path = self.folder / "registration" / f"{name}-{other}.npy"
            if not path.is_file():
                self.tell(f"registering {name} with {other}")
                target = self.subjects.target(name, other)
                ddf = registered(self.subjects.example(name), target)
                with written_whole(path) as temporary, temporary.open("wb") as file:
                    np.save(file, ddf.astype(np.float16))
            rows.append(np.load(path))
        return np.stack(rows)

    def matched(self, setting: Setting) -> float:
        """Control spacing at which random fields are as rough as the recovered ones."""
        path = self._place("random", setting) / "control_spacing.json"
        if not path.is_file():
            self.tell("matching the random field to the recovered ones")
            found = matching.control_spacing(*self._recovered_for_matching(setting))
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps({"control_spacing": found}), encoding="utf-8")
        return float(json.loads(path.read_text(encoding="utf-8"))["control_spacing"])

    def _place(self, kind: str, setting: Setting) -> Path:
        """The folder of a kind and setting; another model or grid has another one."""
        drawn = {key: value for key, value in setting.items() if key != "p"}
        model = "" if kind == "elastic" else self._known_by(drawn.get("model"))
        text = f"{as_text({kind: drawn})} {model} {self.subjects.study.shape}"
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def _known_by(self, model: str | None) -> str:
        """The hash of a generator's weights."""
        path = self.generator(model).path
        assert path is not None
        return weights_sha256(path)

    def _draws(self, kind: str, setting: Setting, name: str, count: int) -> Draws:
        """Fields of a sample, at least as many as wanted."""
        if kind in ("drdm", "own"):
            return self._recovered(setting, name)
        if kind == "random":
            return self._random(setting, name, count)
        if kind == "between":
            return self._between(setting, name, count)
        if kind == "smooth":
            return self._smooth(setting, name, count)
        if kind == "elastic":
            return elastic(self.subjects.study.shape, setting, name)
        raise InputError(
            f"`kind` must be drdm, own, random, between, smooth or elastic, got {kind!r}: choose "
            "one of them."
        )

    def _sampling(self, setting: Setting) -> tuple[Model, SamplingSettings]:
        """The model of a setting, and how it is sampled."""
        model = self.generator(setting.get("model"))
        asked = {key: value for key, value in setting.items() if key not in ("p", "model")}
        return model, resolved(SamplingSettings(**asked), model)

    def _recovered(self, setting: Setting, name: str) -> Draws:
        """Fields as `drdm generate` makes them, from seeds derived from subject and number."""
        model, sampling = self._sampling(setting)
        image, labels = self.subjects.volumes(name)
        subject = see(model, image, labels, sampling)
        index = 0
        while True:
            for sample in draw_samples(model, subject, derived_seed(index, name), 1, sampling):
                if isinstance(sample, Sample):
                    yield self.subjects.placed(ddf_from_field(sample.field), name)
            index += 1

    def _random(self, setting: Setting, name: str, count: int) -> Draws:
        """Random fields, each as large as the recovered field of the same number."""
        model, sampling = self._sampling(setting)
        random = matching.Random(model, sampling, self.matched(setting))
        shape = self.subjects.own_shape(name)
        for index, recovered in enumerate(self.fields("drdm", setting, name, count)):
            made = random.like(recovered, shape, derived_seed(index, name, "random"))
            yield fitted(made, self.subjects.study.shape)

    def _between(self, setting: Setting, name: str, count: int) -> Draws:
        """Fields that take one recovered sample to the next, or back, on the original.

        Recovered samples of a subject have much of their displacement in common: the way from the
        subject to the middle of the population. These have the rest alone.
        """
        recovered = self.fields("drdm", setting, name, count + count % 2)
        for index in range(count):
            pair = (recovered[place] for place in (index, index ^ 1))
            ours, other = (torch.from_numpy(ddf.astype(np.float32))[None] for ddf in pair)
            yield compose(invert(other).ddf, ours)[0].numpy()

    def _smooth(self, setting: Setting, name: str, count: int) -> Draws:
        """Recovered fields without what is finer than elastic fields are.

        Displacement along a boundary or within even tissue shows in no image: recovery cannot take
        it away, and leaves it as rough as it was drawn.
        """
        layers: Any = importlib.import_module("monai.networks.layers")
        smooth = layers.GaussianFilter(len(self.subjects.study.shape), _SMOOTHED, 3.0)
        for ddf in self.fields("drdm", setting, name, count):
            yield smooth(torch.from_numpy(ddf.astype(np.float32))[None])[0].numpy()

    def _recovered_for_matching(self, setting: Setting) -> tuple[Any, ...]:
        """The model, its sampling, and recovered fields of validation subjects."""
        model, sampling = self._sampling(setting)
        pairs = []
        for subject in self.subjects.parts["validation"][: matching.SUBJECTS]:
            name = self.subjects.shown(subject)
            shape = self.subjects.own_shape(name)
            for ddf in self.fields("drdm", setting, name, matching.FIELDS):
                pairs.append((np.asarray(ddf, dtype=np.float32), shape))
        return model, sampling, pairs


def elastic(shape: tuple[int, ...], setting: Setting, name: str) -> Draws:
    """MONAI's elastic displacement, drawn and smoothed by MONAI's own code.

    Its magnitude varies by half to both sides of that which gives the wanted mean displacement:
    uniform noise of deviation `1 / sqrt(3)`, smoothed by a Gaussian, keeps
    `(4 pi sigma^2) ** (-D / 4)` of it. In 2D it is drawn and smoothed in the same way, for the
    fields of both dimensions to be of one kind.
    """
    transforms: Any = importlib.import_module("monai.transforms")
    layers: Any = importlib.import_module("monai.networks.layers")
    dimension, sigma = len(shape), float(setting["sigma"])
    kept = (4 * np.pi * sigma**2) ** (-dimension / 4) / 3**0.5
    length = {2: 1.2533, 3: 1.5958}[dimension]  # mean length of a normal vector of deviation 1
    magnitude = float(setting["mean_voxels"]) / (kept * length)
    index = 0
    while True:
        drawn = transforms.Rand3DElastic(
            (0.8 * sigma, 1.2 * sigma), (0.5 * magnitude, 1.5 * magnitude), prob=1.0
        )
        drawn.set_random_state(derived_seed(index, name, "elastic") % 2**32)
        drawn.randomize(shape)
        smooth = layers.GaussianFilter(dimension, drawn.sigma, 3.0)
        noise = torch.as_tensor(drawn.rand_offset[:dimension])
        offset = smooth(noise[None])[0] * drawn.magnitude
        yield offset.numpy()
        index += 1
