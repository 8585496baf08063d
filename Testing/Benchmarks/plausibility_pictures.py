"""Pictures of original, random start and recovered sample side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from DRDMCore.atomic import written_whole
from DRDMCore.imaging import Volume
from DRDMCore.pipelines.pictures import label_colours, montage, render_slice, window_of
from DRDMCore.pipelines.sampling import Subject
from DRDMCore.pipelines.views import choose_views
from Testing.Benchmarks.plausibility_samples import Made

_WIDTH = 260


def draw(subject: Subject, made: Made, path: Path) -> None:
    """A row per view: original, start, recovered, each with the outlines of its labels."""
    assert subject.labels is not None and made.sample.labels is not None
    shown = [
        (subject.image, subject.labels),
        made.start,
        (made.sample.image, made.sample.labels),
    ]
    with written_whole(path) as temporary:
        _sheet(shown).quantize(128).save(temporary, optimize=True)


def _sheet(shown: Sequence[tuple[Volume, Volume]]) -> Image.Image:
    """The montage, all columns in the window and views of the first."""
    image, labels = shown[0]
    colours, window = label_colours(labels.label_values), window_of(image.array)
    pictures = [
        render_slice(
            view.cut(each.array),
            window,
            view.cut(each_labels.array),
            spacing=view.spacing(image.geometry),
            scale=_WIDTH / max(view.extent_mm(image.geometry)),
            colours=colours,
        )
        for view in choose_views(image.geometry, labels.array)
        for each, each_labels in shown
    ]
    return montage(pictures, columns=len(shown))
