"""Levels side by side: what the random field and its recovery make of a few subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from DRDMCore.atomic import written_whole
from DRDMCore.imaging import Volume
from DRDMCore.models import Model
from DRDMCore.pipelines.augment_plan import derived_seed
from DRDMCore.pipelines.pictures import label_colours, montage, render_slice, window_of
from DRDMCore.pipelines.sampling import Sample, make_sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.pipelines.views import View, choose_views
from Testing.Benchmarks.plausibility_cases import Population
from Testing.Benchmarks.plausibility_samples import random_alone
from Testing.Experiments.by_level.plan import RANDOM, RECOVERED, Plan

_SUBJECTS = 3
_LARGEST = (160, 122)  # rows and columns of a picture, pixels
_MARGIN, _HEAD = 104, 28
_SIZE = 15

Pair = tuple[Volume, Volume]


def draw_grid(model: Model, plan: Plan, population: Population, path: Path) -> None:
    """Write a sheet: two rows per subject, random and recovered, and a column per level.

    The first seed of the first subjects is shown, in the slice where most is labelled; the first
    column is the subject as it is. Both rows start from the same random field.
    """
    titles = ["original", *(f"level {level}" for level in plan.levels)]
    pictures, rows = [], []
    for number, name in enumerate(population.evaluated[:_SUBJECTS], start=1):
        image, labels = population.read(name)
        view = _fullest(choose_views(image.geometry, labels.array), labels)
        for kind, pairs in _samples(model, plan, name, (image, labels)).items():
            pictures += [_picture(pair, (image, labels), view) for pair in pairs]
            rows.append(f"subject {number}\n{kind}")
    sheet = _titled(montage(pictures, columns=len(titles)), titles, rows)
    with written_whole(path) as temporary:
        sheet.quantize(160).save(temporary, optimize=True)


def _samples(model: Model, plan: Plan, name: str, original: Pair) -> dict[str, list[Pair]]:
    """The subject and its samples at every level, by kind."""
    image, labels = original
    found: dict[str, list[Pair]] = {RANDOM: [original], RECOVERED: [original]}
    for level in plan.levels:
        settings = resolved(SamplingSettings(level=level, border=plan.border), model)
        subject, seed = see(model, image, labels, settings), derived_seed(0, name)
        recovered = make_sample(model, subject, seed, settings)
        assert recovered is not None
        found[RANDOM].append(_pair(random_alone(model, subject, seed, settings)))
        found[RECOVERED].append(_pair(recovered))
    return found


def _pair(sample: Sample) -> Pair:
    """Image and labels."""
    assert sample.labels is not None
    return sample.image, sample.labels


def _fullest(views: Sequence[View], labels: Volume) -> View:
    """The view that shows most of the labels."""
    return max(views, key=lambda view: int((view.cut(labels.array) > 0).sum()))


def _picture(pair: Pair, original: Pair, view: View) -> Image.Image:
    """One slice, in the window and colours of the original."""
    image, labels = pair
    return render_slice(
        view.cut(image.array),
        window_of(original[0].array),
        view.cut(labels.array),
        spacing=view.spacing(image.geometry),
        scale=min(n / mm for n, mm in zip(_LARGEST, view.extent_mm(image.geometry), strict=True)),
        colours=label_colours(original[1].label_values),
    )


def _titled(sheet: Image.Image, columns: Sequence[str], rows: Sequence[str]) -> Image.Image:
    """The sheet with names above its columns and beside its rows."""
    chart = Image.new("RGB", (sheet.width + _MARGIN, sheet.height + _HEAD), "white")
    chart.paste(sheet, (_MARGIN, _HEAD))
    pen, font = ImageDraw.Draw(chart), ImageFont.load_default(_SIZE)
    across, down = sheet.width / len(columns), sheet.height / len(rows)
    for number, title in enumerate(columns):
        place = (_MARGIN + across * (number + 0.5), _HEAD / 2)
        pen.text(place, title, fill="black", font=font, anchor="mm")
    for number, title in enumerate(rows):
        place = (_MARGIN / 2, _HEAD + down * (number + 0.5))
        pen.text(place, title, fill="black", font=font, anchor="mm", align="center")
    return chart
