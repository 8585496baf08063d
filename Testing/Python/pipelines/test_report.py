"""The report holds every sample, refers to nothing outside, and shows any text safely."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from DRDMCore.errors import OutputError
from DRDMCore.fields import folded, jacobian_determinant
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.imaging.volume import Volume
from DRDMCore.pipelines import report
from DRDMCore.pipelines.pictures import COLOURS
from DRDMCore.pipelines.quality import measure
from DRDMCore.pipelines.report import ReportSample, write_report
from DRDMCore.pipelines.views import choose_views

MANIFEST = {
    "model": {"name": "heart-2d", "sha256": "ab" * 32},
    "settings": {"level": 48},
    "samples": [{"name": "sample_1", "quality": {"deep": "left out"}}],
    "inputs": [{"path": "a<b>.nii.gz"}],
}


class Reader(HTMLParser):
    """Collects tags, attributes and visible text; checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def case(dimension: int = 2) -> tuple[Volume, Volume, list[ReportSample]]:
    shape = (9, 12, 10)[3 - dimension :]
    spacing = (1.0, 2.0, 1.0)[:dimension]
    geometry = Geometry(
        shape[::-1], spacing, (0.0,) * dimension, tuple(np.eye(dimension).ravel().tolist())
    )
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(size=shape), geometry)
    array = np.zeros(shape, np.uint8)
    array[..., 3:9, 2:7] = 1
    labels = Volume(array, geometry, kind="labels", label_names={1: "Größe <1>"})
    ddf = rng.normal(size=(dimension, *shape)) * 0.1
    quality = measure(
        ddf, geometry.spacing_zyx, array, array, image.array, image.array, labels.label_names
    )
    samples = [ReportSample(image, labels, ddf, quality, 70 + i, f"sample_{i}") for i in (1, 2)]
    return image, labels, samples


def read(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def pictures(reader: Reader) -> list[Image.Image]:
    sources = [a["src"] or "" for tag, a in reader.tags if tag == "img"]
    return [Image.open(io.BytesIO(base64.b64decode(s.split(",")[1]))) for s in sources]


@pytest.mark.parametrize("dimension", [2, 3])
def test_report_holds_every_sample_and_nothing_from_outside(tmp_path, dimension):
    image, labels, samples = case(dimension)
    path = tmp_path / "report.html"
    write_report(path, title="T", original=image, labels=labels, samples=samples, manifest=MANIFEST)
    reader = read(path)
    for text in ("sample_1", "seed 71", "sample_2", "seed 72", "heart-2d", "48", "ab" * 32):
        assert text in reader.text
    assert "level 48" in reader.text and "left out" not in reader.text
    views = 3 if dimension == 3 else 1
    assert len(pictures(reader)) == 1 + 2 * 4 * views
    page = path.read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page and "url(" not in page
    assert all(a["src"].startswith("data:") and a["alt"] for t, a in reader.tags if t == "img")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert len(list(tmp_path.iterdir())) == 1


def test_text_is_escaped(tmp_path):
    image, labels, samples = case()
    title = "<script>alert('ß')</script> & Größe – 心臓"  # noqa: RUF001
    path = tmp_path / "report.html"
    write_report(
        path, title=title, original=image, labels=labels, samples=samples, manifest=MANIFEST
    )
    reader = read(path)
    assert title in reader.text and "Größe <1>" in reader.text and "a<b>.nii.gz" in reader.text
    assert "script" not in {tag for tag, _ in reader.tags}


def test_pictures_have_the_label_and_the_proportions(tmp_path):
    image, labels, samples = case()
    path = tmp_path / "report.html"
    write_report(path, title="T", original=image, labels=labels, samples=samples, manifest={})
    first = pictures(read(path))[1].convert("RGB")
    assert first.height / first.width == pytest.approx(12 * 2 / 10, rel=0.02)
    near = np.abs(np.asarray(first).astype(int) - COLOURS[0]).max(-1) < 8
    rows = np.flatnonzero(near.any(1))
    assert rows.min() == pytest.approx(first.height * 3 / 12, abs=2)
    assert rows.max() == pytest.approx(first.height * 9 / 12, abs=3)


def test_report_without_labels_or_samples(tmp_path):
    image, _, samples = case()
    bare = ReportSample(image, None, samples[0].ddf, measure(samples[0].ddf, (1, 1)), 1, "bare")
    for chosen in ([bare], []):
        write_report(
            tmp_path / "r.html", title="T", original=image, labels=None, samples=chosen, manifest={}
        )
        assert f"{len(chosen)} new sample" in read(tmp_path / "r.html").text


def test_numbers_are_told_with_units(tmp_path):
    image, labels, samples = case()
    path = tmp_path / "report.html"
    write_report(path, title="T", original=image, labels=labels, samples=samples, manifest={})
    text = re.sub(r"\s+", " ", read(path).text)
    for words in ("Displacement, mean", "mm²", "Folded voxels", "Change, %"):
        assert words in text


def test_wrong_grid_and_unwritable_file_are_refused(tmp_path):
    image, labels, samples = case()
    wrong = ReportSample(image, None, np.zeros((2, 5, 5)), samples[0].quality, 1, "wrong")
    rest = {"title": "T", "original": image, "labels": labels, "manifest": {}}
    with pytest.raises(ValueError, match="wrong"):
        write_report(tmp_path / "r.html", samples=[wrong], **rest)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError):
        write_report(tmp_path / "file" / "r.html", samples=samples, **rest)


@pytest.mark.parametrize("index", [0, 4, 8])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_volume_change_of_a_slice_is_that_of_the_whole_field(axis, index):
    ddf = np.random.default_rng(1).normal(size=(3, 9, 9, 9)).astype(np.float32) * 0.4
    grid = Geometry((9, 9, 9), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel().tolist()))
    view = next(v for v in choose_views(grid) if v.normal == axis)
    view = dataclasses.replace(view, index=index)
    field = torch.from_numpy(ddf)[None]
    determinant, folds = report._volume_change(view, ddf)
    assert np.array_equal(folds, view.cut(folded(field)[0].numpy()))
    assert np.allclose(determinant, view.cut(jacobian_determinant(field)[0].numpy()), atol=1e-6)
