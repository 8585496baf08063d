"""Augmented samples of every arm, to look at: image and outlines of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from DRDMCore.pipelines.pictures import montage, render_slice
from Testing.Experiments.few_shot.arms import ARMS, settings_of
from Testing.Experiments.few_shot.augmenting import Augmenter
from Testing.Experiments.few_shot.plan import TEST, labelled, run_of
from Testing.Experiments.few_shot.running import Bench, pools

_SAMPLES = 6


def draw_samples_of_arms(bench: Bench, folder: Path) -> None:
    """Write a picture per arm: the same draws of subject, affine map and grey values.

    A row per plane through the middle of the labels; the first column is the subject as it is.
    Untuned settings are used: the first of the grid of each arm.

    Args:
        bench: What it needs.
        folder: Folder of the pictures.
    """
    study = bench.study
    middle = {name: arm.grid[2] for name, arm in ARMS.items() if arm.grid}
    folder.mkdir(parents=True, exist_ok=True)
    for name, arm in ARMS.items():
        if "own" in arm.kinds:
            continue
        settings = {k: {**s, "p": 1.0} for k, s in settings_of(arm, middle).items()}
        run = run_of(study, TEST, 2, 0, name, settings)
        names = labelled(run, study, bench.subjects.parts["training"])
        examples = [bench.subjects.example(each) for each in names]
        augmenter = Augmenter(examples, pools(bench, run, names), moves=arm.moves, seed=0)
        pairs = [(examples[0].image, examples[0].labels)]
        for number in range(_SAMPLES):
            image, labels = augmenter.sample(number)
            pairs.append((image[0, 0].numpy(), labels[0, 0].numpy()))
        _sheet(pairs).save(folder / f"{study.name}-{name}.png")


def _sheet(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """All planes of all samples."""
    pictures = []
    for axis in range(pairs[0][0].ndim):
        for image, labels in pairs:
            weight = (labels > 0).sum(axis=tuple(a for a in range(labels.ndim) if a != axis))
            place = int(weight.argmax())
            grey, outline = (np.take(each, place, axis=axis) for each in (image, labels))
            window = float(np.percentile(image, 1)), float(np.percentile(image, 99.5))
            pictures.append(render_slice(grey, window, outline, scale=4.0))
    return montage(pictures, columns=len(pairs))
