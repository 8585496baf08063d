"""`report.html`: every sample in pictures and numbers, one file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from DRDMCore.atomic import write_text_whole
from DRDMCore.fields import folded, jacobian_determinant
from DRDMCore.imaging.volume import Volume
from DRDMCore.pipelines.pictures import (
    Colour,
    label_colours,
    render_bar,
    render_grid,
    render_jacobian,
    render_slice,
    window_of,
)
from DRDMCore.pipelines.report_style import STYLE
from DRDMCore.pipelines.views import View, choose_views

PICTURE_PIXELS = 380
"""Pixels on the longest side of the pictures."""

_SIDES = {
    "L": "left side",
    "R": "right side",
    "A": "front",
    "P": "back",
    "S": "head end",
    "I": "foot end",
}
_SUMMARY_KEYS = ("model", "level", "seed")
_NOTHING = "&ndash;"


@dataclass(frozen=True)
class ReportSample:
    """One sample as the report needs it.

    Attributes:
        image: Deformed image, on the original's grid.
        labels: Deformed labels, or None.
        ddf: `(D, *S)` displacement in voxels of that grid.
        quality: What `quality.measure` returned.
        seed: The sample's seed.
        name: What to call it.
    """

    image: Volume
    labels: Volume | None
    ddf: np.ndarray
    quality: Mapping[str, Any]
    seed: int
    name: str


@dataclass(frozen=True)
class _Style:
    """How all pictures of a report are drawn."""

    views: list[View]
    window: tuple[float, float]
    colours: dict[int, Colour]
    scale: float


def write_report(
    path: Path | str,
    *,
    title: str,
    original: Volume,
    labels: Volume | None,
    samples: Sequence[ReportSample],
    manifest: Mapping[str, Any],
) -> None:
    """Write the report as one HTML file: no scripts, nothing loaded from elsewhere.

    Args:
        path: File to write, whole or not at all.
        title: Heading, any text.
        original: The image that was deformed.
        labels: Its labels, or None.
        samples: What came out; each is asked for once (the first twice), so they may be read from
            files as they are needed. They have no labels that `labels` lacks.
        manifest: Settings and hashes. `model`, `level` and `seed` (its own or those of its
            `settings`) are told in the first paragraph; all is listed at the end.

    Raises:
        OutputError: If the file cannot be written.
        ValueError: If a sample does not lie on the grid of the original.
    """
    style = _style(original, labels)
    parts = [
        f"<h1>{escape(title)}</h1>",
        _introduction(original, samples, manifest),
        _legend(original, labels, samples, style),
        *(_sample(original, labels, sample, style) for sample in samples),
        _details(manifest),
    ]
    write_text_whole(path, _page(title, "\n".join(parts)))


def _require_same_grid(original: Volume, sample: ReportSample) -> None:
    """Refuse a sample of another shape."""
    shape = original.array.shape
    found = [sample.image.array.shape, sample.ddf.shape[1:]]
    found += [sample.labels.array.shape] if sample.labels is not None else []
    if any(f != shape for f in found) or len(sample.ddf) != len(shape):
        raise ValueError(
            f"sample {sample.name!r} must lie on the grid of the original {shape}, got image, "
            f"field and labels of {', '.join(map(str, found))}."
        )


def _style(original: Volume, labels: Volume | None) -> _Style:
    """Views, window, colours and scale that all pictures share."""
    geometry = original.geometry
    views = choose_views(geometry, labels.array if labels is not None else None)
    longest = max(side for view in views for side in view.extent_mm(geometry))
    values = labels.label_values if labels is not None else ()
    return _Style(views, window_of(original.array), label_colours(values), PICTURE_PIXELS / longest)


# Text -------------------------------------------------------------------------------------------


def _introduction(
    original: Volume, samples: Sequence[ReportSample], manifest: Mapping[str, Any]
) -> str:
    """What this page is."""
    count = f"{len(samples)} new sample{'' if len(samples) == 1 else 's'}"
    source = f" from <b>{escape(original.source.name)}</b>" if original.source else ""
    known = {**(manifest.get("settings") or {}), **manifest}
    told = [
        f"{key} <b>{escape(_name(known[key]))}</b>"
        for key in _SUMMARY_KEYS
        if known.get(key) is not None
    ]
    made = f" Settings: {', '.join(told)}." if told else ""
    size = " x ".join(str(n) for n in original.geometry.size)
    spacing = " x ".join(f"{s:.4g}" for s in original.geometry.spacing_mm)
    return (
        f"<p class='lead'>{count}{source}, {_how(known)}. The image and its labels "
        f"moved together.{made} Grid: {size} voxels of {spacing} mm. These are synthetic images "
        "for research; do not use them for diagnosis.</p>"
    )


def _how(known: Mapping[str, Any]) -> str:
    """How the samples were made, in half a sentence."""
    if _name(known.get("model")) == "none":
        return "made by a smooth random deformation that knows no anatomy"
    return "made by deforming the anatomy and letting a network take the implausible part away"


def _name(value: Any) -> str:
    """A short text for a value of the manifest; a record is called by its name."""
    if isinstance(value, Mapping):
        return str(value.get("name", value.get("id", "see the settings")))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _legend(
    original: Volume,
    labels: Volume | None,
    samples: Sequence[ReportSample],
    style: _Style,
) -> str:
    """Colours of the labels and of the determinant."""
    names = _label_names(labels, samples)
    entries = "".join(
        f"<li>{_swatch(colour)}{escape(names.get(value) or f'label {value}')}</li>"
        for value, colour in style.colours.items()
    )
    labels_part = f"<div><h2>Labels</h2><ul>{entries}</ul></div>" if entries else ""
    bar = _image(render_bar(256, 14), "Colours from blue at 0.5 over white at 1 to red at 2")
    return (
        f"<div class='legend'>{labels_part}<div><h2>Volume change (det J)</h2><div class='bar'>"
        f"{bar}<div class='ticks'><span>0.5</span><span>1</span><span>2</span></div></div>"
        "<p>Blue: tissue was made larger. Red: smaller. "
        f"{_swatch((20, 20, 20))}The field folds.</p></div>"
        "<div><h2>Grid</h2><p>A square grid on the original, after the deformation "
        "(its part within the slice).</p></div></div>"
    )


def _label_names(labels: Volume | None, samples: Sequence[ReportSample]) -> dict[int, str]:
    """Names from the quality records, then from the original's labels."""
    names = {row["value"]: row["name"] for s in samples[:1] for row in s.quality.get("labels", [])}
    names.update(labels.label_names if labels is not None else {})
    return names


def _swatch(colour: Colour) -> str:
    """A small square of colour."""
    return f"<i class='swatch' style='background:rgb{colour}'></i>"


# Samples ----------------------------------------------------------------------------------------


def _sample(original: Volume, labels: Volume | None, sample: ReportSample, style: _Style) -> str:
    """One sample: heading, pictures, tables."""
    _require_same_grid(original, sample)
    return (
        f"<section><h2>{escape(sample.name)} <small>seed {sample.seed}</small></h2>"
        "<div class='pictures'><b>Original</b><b>Sample</b><b>Deformed grid</b><b>det J</b>"
        f"{''.join(_pictures(original, labels, sample, style))}</div>"
        f"<div class='tables'>{_numbers(sample.quality)}{_volumes(sample.quality, style)}</div>"
        "</section>"
    )


def _pictures(
    original: Volume, labels: Volume | None, sample: ReportSample, style: _Style
) -> Iterator[str]:
    """Four pictures per view, each view under a line that says what it shows."""
    for view in style.views:
        yield f"<p class='view'>{_view_text(view, original)}</p>"
        spacing = view.spacing(original.geometry)
        how: dict[str, Any] = {"spacing": spacing, "scale": style.scale}
        moved = view.cut(sample.image.array)
        lines = view.cut(sample.labels.array) if sample.labels is not None else None
        first = view.cut(labels.array) if labels is not None else None
        still = view.cut(original.array)
        determinant, folds = _volume_change(view, sample.ddf)
        pictures = {
            "original": render_slice(still, style.window, first, colours=style.colours, **how),
            "sample": render_slice(moved, style.window, lines, colours=style.colours, **how),
            "deformed grid": render_grid(view.cut_field(sample.ddf), moved, style.window, **how),
            "det J": render_jacobian(determinant, folds, lines, **how),
        }
        for what, picture in pictures.items():
            yield _image(picture, f"{sample.name}: {what}, {view.name}", picture.width)


def _volume_change(view: View, ddf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give det J and the folded voxels of one slice: they depend on its neighbours only."""
    if view.normal >= 0:
        start = max(0, view.index - 1)
        ddf = np.moveaxis(ddf, 1 + view.normal, 0)[start : view.index + 2]
        ddf = np.moveaxis(ddf, 0, 1 + view.normal)
        view = replace(view, index=view.index - start)
    field = torch.from_numpy(np.ascontiguousarray(ddf, dtype=np.float32))[None]
    return view.cut(jacobian_determinant(field)[0].numpy()), view.cut(folded(field)[0].numpy())


def _view_text(view: View, original: Volume) -> str:
    """What a row of pictures shows and how the patient lies in it."""
    around = ", around the labels" if view.box else ""
    if view.normal < 0:
        return f"Image{around}"
    return (
        f"{view.name.capitalize()}, slice {view.index + 1} of "
        f"{original.array.shape[view.normal]}{around}; {_SIDES[view.top]} up, "
        f"patient's {_SIDES[view.left]} on the left"
    )


def _image(picture: Image.Image, text: str, pixels: int | None = None) -> str:
    """The picture as part of the page; `pixels` keeps all pictures to one scale."""
    buffer = io.BytesIO()
    _lean(picture).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = f" style='width:{100 * pixels / PICTURE_PIXELS:.1f}%'" if pixels else ""
    return f"<img{width} alt='{escape(text)}' src='data:image/png;base64,{data}'>"


def _lean(picture: Image.Image) -> Image.Image:
    """The picture in 64 levels and 256 colours: half the bytes, and no eye sees it."""
    levels = [min(255, (level + 2) // 4 * 4) for level in range(256)]
    return picture.point(levels * 3).quantize(256, dither=Image.Dither.NONE)


# Tables -----------------------------------------------------------------------------------------


def _numbers(quality: Mapping[str, Any]) -> str:
    """The numbers that concern the whole sample."""
    rows = "".join(
        f"<tr><th>{name}</th><td>{value}</td><td class='unit'>{unit}</td></tr>"
        for name, value, unit in _number_rows(quality)
    )
    return f"<table><caption>Deformation</caption>{rows}</table>"


def _number_rows(quality: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and unit."""
    length = quality["displacement_mm"]
    yield "Displacement, mean", _number(length["mean"]), "mm"
    if length.get("foreground_mean") is not None:
        yield "Displacement in labels, mean", _number(length["foreground_mean"]), "mm"
    yield "Displacement, 95th percentile", _number(length["p95"]), "mm"
    yield "Displacement, largest", _number(length["max"]), "mm"
    jacobian, folding = quality["jacobian"], quality["folding"]
    yield "det J, smallest to largest", _range(jacobian, "min", "max"), ""
    yield "det J, 1st to 99th percentile", _range(jacobian, "p1", "p99"), ""
    yield "Folded voxels", f"{_number(folding['percent'])} % ({folding['voxels']})", ""
    if quality.get("repaired_voxels"):
        yield "Voxels unfolded by repair", str(quality["repaired_voxels"]), ""
    apart = quality.get("motion_separability_voxels") or {}
    if apart:
        values = " / ".join(_number(value) for value in apart.values())
        yield f"Motion Separability at {' / '.join(apart)} voxels", values, "voxels"
    likeness = quality.get("image")
    if likeness:
        yield "Correlation with the original", _number(likeness["ncc"]), ""
        yield "Mean intensity, change", _signed(likeness["intensity_change_percent"]), "% of range"


def _volumes(quality: Mapping[str, Any], style: _Style) -> str:
    """Volume per label before and after."""
    if not quality.get("labels"):
        return ""
    unit = {"ml": "ml", "mm2": "mm²"}[quality["volume_unit"]]
    what = "Area" if quality["volume_unit"] == "mm2" else "Volume"
    rows = "".join(
        f"<tr><th>{_swatch(style.colours.get(row['value'], (128, 128, 128)))}"
        f"{escape(row['name'])}</th><td>{_number(row['before'])}</td>"
        f"<td>{_number(row['after'])}</td><td>{_signed(row['change_percent'])}</td></tr>"
        for row in quality["labels"]
    )
    return (
        f"<table><caption>{what} of the labels</caption><thead><tr><th></th><th>Original, {unit}"
        f"</th><th>Sample, {unit}</th><th>Change, %</th></tr></thead>{rows}</table>"
    )


def _number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None:
        return _NOTHING
    if abs(value) >= 1000 or value == 0:
        text = f"{value:.0f}"
    else:
        text = f"{value:.4f}" if abs(value) < 0.01 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "&minus;")


def _signed(value: float | None) -> str:
    """A change with its sign, one decimal."""
    if value is None:
        return _NOTHING
    text = f"{value:+.1f}".replace("-", "&minus;")
    return "0.0" if text[-3:] == "0.0" and abs(value) < 0.05 else text


def _range(numbers: Mapping[str, float], low: str, high: str) -> str:
    """Two numbers."""
    return f"{_number(numbers[low])} to {_number(numbers[high])}"


def _details(manifest: Mapping[str, Any]) -> str:
    """All settings and hashes, folded away."""
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in _flat(manifest)
    )
    return f"<details><summary>Settings and hashes</summary><table>{rows}</table></details>"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of everything in a nested record."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            if name == "quality":
                continue  # it stands in the tables above
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{key}[{number}]")
    else:
        yield key, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _page(title: str, body: str) -> str:
    """The whole page."""
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )
