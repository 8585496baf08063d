"""What programs write into docs/ is up to date."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from DRDMCore.models import load_model
from Testing.Docs import evidence, levels_chart, model_cards


def test_model_cards_are_those_of_the_files():
    written = model_cards.PAGE.read_text(encoding="utf-8")
    assert written == model_cards.page(model_cards.bundled()), (
        "docs/model-cards.md is out of date: python -m Testing.Docs.model_cards"
    )
    for path in model_cards.bundled():
        card = load_model(path).card
        assert f"## `{card.name}`: {card.title}" in written and card.licence in written


def test_pages_of_measurements_exist():
    for path in model_cards.bundled():
        page = load_model(path).card.metrics["plausibility"]["page"]
        assert (model_cards.REPOSITORY / page).is_file()


def test_the_chart_of_levels_is_that_of_the_model():
    """Its numbers may differ in the last digits elsewhere, and so do a few edges of labels."""
    kept = np.asarray(Image.open(levels_chart.PICTURE).convert("L"), dtype=float)
    drawn = np.asarray(levels_chart.draw(levels_chart.LEVELS).convert("L"), dtype=float)
    assert kept.shape == drawn.shape and levels_chart.PICTURE.stat().st_size < 200_000
    assert np.corrcoef(kept.ravel(), drawn.ravel())[0, 1] > 0.99


def test_recovery_undoes_more_than_half_of_a_strong_deformation():
    starts, recovered, _ = levels_chart.rows([79])
    original = starts[0][0].array.ravel()
    before, after = (
        np.corrcoef(original, each[1][0].array.ravel())[0, 1] for each in (starts, recovered)
    )
    assert 1 - after < (1 - before) / 2


def test_tables_of_evidence_are_those_of_the_results():
    written = evidence.PAGE.read_text(encoding="utf-8")
    assert written == evidence.filled(written), (
        "docs/evidence.md is out of date: python -m Testing.Docs.evidence"
    )
    assert all(f"<!-- table: {name} -->" in written for name in evidence.TABLES)


def test_evidence_of_no_results_says_so(tmp_path):
    text = "before\n<!-- table: segmentation -->\nold\n<!-- end -->\nafter\n"
    assert evidence.filled(text, tmp_path) == text.replace("old", f"\n{evidence.NOT_YET}\n")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.2, 1.4), "**better**"), ((-1.4, -0.2), "**worse**"), ((-0.2, 1.4), "no sure difference")],
)
def test_only_an_interval_without_zero_is_a_verdict(interval, verdict):
    assert evidence.verdict_of(interval) == verdict
    assert evidence.verdict_of(interval, evidence.ENOUGH - 1) == "too few subsets"
