"""Registered pairs of every arm, to look at: image and outlines of the fixed subject's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from DRDMCore.atomic import written_whole
from DRDMCore.fields import warp
from DRDMCore.pipelines.pictures import montage, render_grid, render_slice, window_of
from Testing.Experiments.few_shot.subjects import Example
from Testing.Experiments.registration.judging import Method
from Testing.Experiments.registration.plan import Run, real_pairs
from Testing.Experiments.registration.running import Bench, kept_method

_SCALE = 3.0


def draw_pairs(bench: Bench, runs: Sequence[Run], path: Path, count: int = 3) -> bool:
    """Draw a few test pairs as the first network of every arm registers them.

    Two rows per pair: moving, fixed and the registered images, with the outlines of the fixed
    subject's labels; and below each the grid that it was deformed by.

    Args:
        bench: What it needs.
        runs: The runs of the test; those that are not finished are left out.
        path: The picture.
        count: Pairs.

    Returns:
        Whether there was any network to draw.
    """
    methods: dict[str, Method] = {}
    for run in runs:
        method = kept_method(bench, run) if run.seed == 0 and run.arm != "none" else None
        if method is not None:
            methods[run.arm] = method
    if not methods:
        return False
    rings = bench.study.rings[:1]
    pairs = real_pairs(bench.subjects.parts["test"], rings)[:count]
    pictures = []
    for first, second in pairs:
        moving, fixed = bench.subjects.example(first), bench.subjects.example(second)
        pictures += _rows(moving, fixed, methods)
    with written_whole(path) as temporary:
        montage(pictures, columns=2 + len(methods)).save(temporary)
    return True


def _rows(moving: Example, fixed: Example, methods: dict[str, Method]) -> list[Image.Image]:
    """The two rows of a pair."""
    axis = fixed.labels.ndim - 1
    weight = (fixed.labels > 0).sum(axis=tuple(range(axis)))
    place = int(weight.argmax())
    outline = np.take(fixed.labels, place, axis=axis)
    above, below = [], []
    for title, image in (("moving", moving.image), ("fixed", fixed.image)):
        above.append(_drawn(image, outline, place, axis, title))
        below.append(Image.new("RGB", above[0].size, "black"))
    for name, method in methods.items():
        ddf = method(moving, fixed)
        pulled = warp(torch.from_numpy(moving.image)[None, None], torch.from_numpy(ddf)[None])
        above.append(_drawn(pulled[0, 0].numpy(), outline, place, axis, name))
        plane, shown = np.take(ddf[:axis], place, axis=1 + axis), pulled[0, 0].numpy()
        below.append(
            render_grid(
                plane, np.take(shown, place, axis=axis), window_of(shown), scale=_SCALE, step_mm=3
            )
        )
    return [*above, *below]


def _drawn(
    image: np.ndarray, outline: np.ndarray, place: int, axis: int, title: str
) -> Image.Image:
    """A slice with outlines and a title."""
    picture = render_slice(
        np.take(image, place, axis=axis), window_of(image), outline, scale=_SCALE
    )
    ImageDraw.Draw(picture).text((3, 2), title, fill="white")
    return picture
