"""Augmented samples of every arm, to look at: image and outlines of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from DRDMCore.pipelines.pictures import montage, render_slice
from Testing.Experiments.few_shot.arms import ARMS, settings_of
from Testing.Experiments.few_shot.augmenting import Augmenter
from Testing.Experiments.few_shot.plan import labelled, run_of
from Testing.Experiments.few_shot.running import Bench, pools
from Testing.Experiments.planned import TEST

_SAMPLES = 6


def draw_samples_of_arms(bench: Bench, folder: Path) -> None:
    """Write a picture per arm: the same draws of affine map and grey values.

    Of a volume there is a row per plane through the middle of the labels; of a patient with slices
    a row per slice. The first column is the sample as it is. Untuned settings are used, from the
    middle of the grid of each arm.

    Args:
        bench: What it needs.
        folder: Folder of the pictures.
    """
    study = bench.study
    middle = {name: grid[len(grid) // 2] for name, grid in study.grids.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name in study.possible:
        arm = ARMS[name]
        if "own" in arm.kinds:
            continue
        settings = {k: {**s, "p": 1.0} for k, s in settings_of(arm, middle).items()}
        run = run_of(study, TEST, 2, 0, name, settings)
        names = labelled(run, study, bench.subjects.parts["training"])
        rows = []
        for sample in _shown(bench, names[0]):
            example = bench.subjects.example(sample)
            kinds = pools(bench, run, names, [sample])
            augmenter = Augmenter(
                [example], kinds, moves=arm.moves, seed=0, pose=study.training.pose
            )
            rows.append([(example.image, example.labels), *_drawn(augmenter)])
        _sheet(rows).save(folder / f"{study.name}-{name}.png")


def _shown(bench: Bench, subject: str) -> list[str]:
    """A volume; or slices from one end of a stack to the other."""
    names = next(iter(bench.subjects.stacks(subject).values()))
    places = [round(part * (len(names) - 1)) for part in (0.2, 0.5, 0.8)]
    return [names[place] for place in dict.fromkeys(places)]


def _drawn(augmenter: Augmenter) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image and labels of some samples."""
    made = [augmenter.sample(number) for number in range(_SAMPLES)]
    return [(image[0, 0].numpy(), labels[0, 0].numpy()) for image, labels in made]


def _sheet(rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> Image.Image:
    """All planes of all samples."""
    pictures = [_plane(*pair, axis) for row in rows for axis in _axes(row[0][0]) for pair in row]
    return montage(pictures, columns=len(rows[0]))


def _axes(image: np.ndarray) -> Sequence[int | None]:
    """The axes across the planes that are shown; `None`: the slice itself."""
    return (0, 1, 2) if image.ndim == 3 else (None,)


def _plane(image: np.ndarray, labels: np.ndarray, axis: int | None) -> Image.Image:
    """The plane with most labels, or a slice."""
    window = float(np.percentile(image, 1)), float(np.percentile(image, 99.5))
    if axis is None:
        return render_slice(image, window, labels, scale=1.5)
    weight = (labels > 0).sum(axis=tuple(a for a in range(labels.ndim) if a != axis))
    place = int(weight.argmax())
    grey, outline = (np.take(each, place, axis=axis) for each in (image, labels))
    return render_slice(grey, window, outline, scale=4.0)
