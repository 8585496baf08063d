"""Draw docs/pictures/levels.png: random deformation and recovery, level by level.

    python -m Testing.Docs.levels_chart

A phantom that no bundled model was trained on, one seed, the model's own gain and passes; columns
are levels, rows the random start and what the model makes of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from DRDMCore.atomic import written_whole
from DRDMCore.imaging import Volume, apply_field, phantom
from DRDMCore.models import load_model
from DRDMCore.pipelines.pictures import label_colours, montage, render_slice, window_of
from DRDMCore.pipelines.sampling import make_sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.pipelines.views import choose_views

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = REPOSITORY / "docs" / "pictures" / "levels.png"
KIND, MODEL = "heart-2d", "phantom-heart-2d"
SUBJECT, SEED = 1_000_001, 5
LEVELS = (16, 32, 48, 64, 79)
WIDTH, MARGIN, LINE = 150, 84, 20

Pair = tuple[Volume, Volume]


def rows(levels: Sequence[int]) -> tuple[list[Pair], list[Pair], list[str]]:
    """Random starts and recovered samples of the levels, and a title for each level."""
    image, labels = phantom(KIND, SUBJECT)
    model = load_model(MODEL)
    starts, recovered, titles = [(image, labels)], [(image, labels)], ["original"]
    for level in levels:
        settings = resolved(replace(SamplingSettings(), level=level), model)
        sample = make_sample(model, see(model, image, labels, settings), SEED, settings)
        assert sample is not None and sample.labels is not None
        started = [apply_field(each, sample.start_field) for each in (image, labels)]
        starts.append((started[0], started[1]))
        recovered.append((sample.image, sample.labels))
        titles.append(f"level {level}")
    return starts, recovered, titles


def draw(levels: Sequence[int]) -> Image.Image:
    """The chart."""
    starts, recovered, titles = rows(levels)
    image, labels = starts[0]
    view = choose_views(image.geometry, labels.array)[0]
    pictures = [
        render_slice(
            view.cut(each.array),
            window_of(image.array),
            view.cut(each_labels.array),
            spacing=view.spacing(image.geometry),
            scale=WIDTH / max(view.extent_mm(image.geometry)),
            colours=label_colours(labels.label_values),
        )
        for each, each_labels in [*starts, *recovered]
    ]
    sheet = montage(pictures, columns=len(titles))
    chart = Image.new("RGB", (sheet.width + MARGIN, sheet.height + LINE), "white")
    chart.paste(sheet, (MARGIN, LINE))
    pen, font = ImageDraw.Draw(chart), ImageFont.load_default(13)
    column, row = sheet.width / len(titles), sheet.height / 2
    for number, title in enumerate(titles):
        place = (MARGIN + column * (number + 0.5), LINE / 2)
        pen.text(place, title, fill="black", font=font, anchor="mm")
    for number, title in enumerate(("random", "recovered")):
        place = (MARGIN / 2, LINE + row * (number + 0.5))
        pen.text(place, title, fill="black", font=font, anchor="mm")
    return chart


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURE)
    out = parser.parse_args(arguments).out
    with written_whole(out) as temporary:
        draw(LEVELS).quantize(64).save(temporary, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
