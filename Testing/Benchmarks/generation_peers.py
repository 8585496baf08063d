"""Elastic deformation by TorchIO and MONAI, and by us, of one image with its labels."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import torch

from DRDMCore.fields import warp, warp_labels
from DRDMCore.imaging import Volume
from DRDMCore.recovery import deform, recover
from Testing.Benchmarks.generation_cases import Ready

PEERS = ("torchio", "monai")


def version(package: str) -> str | None:
    """The version of an installed package, or `None`."""
    return importlib.metadata.version(package) if importlib.util.find_spec(package) else None


def jobs(ready: Ready) -> dict[str, Callable[[], object]]:
    """Jobs by name, all from tensors to tensors: those of the peers that are installed, and ours.

    Args:
        ready: A model with an image whose voxels are the model's.
    """
    image, labels = (_tensor(each) for each in (ready.subject.image, ready.subject.labels))
    made: dict[str, Callable[[], object]] = {}
    if version("torchio"):
        made["TorchIO RandomElasticDeformation"] = _torchio(image, labels)
    if version("monai"):
        made["MONAI Rand3DElasticd"] = _monai(image, labels)
    made["ours, deformation"] = _ours(ready, image, labels, recovered=False)
    made["ours, deformation + recovery"] = _ours(ready, image, labels, recovered=True)
    return made


def _tensor(volume: Volume | None) -> torch.Tensor:
    """`(1, *S)`: images in float32, labels as they are."""
    assert volume is not None
    array = torch.from_numpy(volume.array)[None]
    return array.float() if volume.kind == "image" else array


def _torchio(image: torch.Tensor, labels: torch.Tensor) -> Callable[[], object]:
    """TorchIO with its own defaults."""
    torchio: Any = importlib.import_module("torchio")
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=image), labels=torchio.LabelMap(tensor=labels)
    )
    transform = torchio.RandomElasticDeformation()
    return lambda: transform(subject)


def _monai(image: torch.Tensor, labels: torch.Tensor) -> Callable[[], object]:
    """MONAI with the smoothing and the strength of its documentation's example."""
    monai: Any = importlib.import_module("monai.transforms")
    transform = monai.Rand3DElasticd(
        keys=("image", "labels"),
        sigma_range=(5, 8),
        magnitude_range=(100, 200),
        prob=1.0,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    return lambda: transform({"image": image, "labels": labels})


def _ours(
    ready: Ready, image: torch.Tensor, labels: torch.Tensor, *, recovered: bool
) -> Callable[[], object]:
    """Our random field, recovered or not, and image and labels pulled through it."""
    model, settings, seeds = ready.model, ready.settings, itertools.count()
    assert model.step is not None and settings.level is not None
    view, step, level = ready.subject.view.image, model.step, settings.level

    def job() -> object:
        generator = torch.Generator().manual_seed(next(seeds))
        with torch.inference_mode():
            made = deform(view, level, generator, model.field)
            ddf = made.ddf
            if recovered:
                ddf = recover(step, view, ddf, level, model.recovery).ddf
            return warp(image[None], ddf), warp_labels(labels[None], ddf)

    return job
