"""The models in Resources/Models: whole, small, explained, and made by settings that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from DRDMCore.models import load_model, sha256_of
from DRDMCore.training.settings_file import read_settings

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
MODELS = sorted((RESOURCES / "Models").glob("*.safetensors"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
class TestBundledModel:
    def test_loads_and_is_the_one_in_the_list(self, path):
        sums = (RESOURCES / "Models" / "SHA256SUMS").read_text(encoding="utf-8")
        listed = {name: digest for digest, name in map(str.split, sums.splitlines())}
        assert load_model(path).sha256 == sha256_of(path) == listed[path.name]

    def test_is_small(self, path):
        assert path.stat().st_size < 6_000_000

    def test_card_says_what_a_user_should_know(self, path):
        card = load_model(path).card
        assert card.name == path.stem
        for entry in (card.title, card.modality, card.anatomy, card.data, card.licence, card.notes):
            assert entry not in ("", "any")
        assert {"level", "steps", "gain"} <= set(card.recommended)
        assert {"steps", "seconds", "seed", "machine"} <= set(card.training)
        assert card.metrics

    def test_settings_that_trained_it_are_there(self, path):
        model = load_model(path)
        distilled = model.card.training["objective"] == "distilled"
        kind = "distill" if distilled else "train"
        settings = read_settings(RESOURCES / "Configurations" / f"{kind}_{path.stem}.yaml")
        assert model.recovery.steps == model.card.recommended["steps"]
        assert (settings.grid, settings.field) == (model.grid, model.field)
        assert settings.steps == model.card.training["steps"]
        assert settings.seed == model.card.training["seed"]
        assert list(settings.widths) == list(model.architecture["widths"])


def test_there_are_models():
    assert {"phantom-heart-2d", "phantom-torso-3d"} <= {path.stem for path in MODELS}
