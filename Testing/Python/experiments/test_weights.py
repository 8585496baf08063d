"""A model keeps its results when only its header changes."""

from __future__ import annotations

from dataclasses import replace

from DRDMCore.models import find_model, load_model, save_model, sha256_of
from Testing.Experiments.weights import weights_sha256


def test_a_model_is_known_by_the_file_in_which_it_was_first_measured(tmp_path):
    first = find_model("phantom-heart-2d")
    assert weights_sha256(first) == sha256_of(first)
    model = load_model(first)
    training = {**model.card.training, "same_weights_as": sha256_of(first)}
    later = save_model(replace(model, card=replace(model.card, training=training)), tmp_path / "m")
    assert sha256_of(later) != sha256_of(first) == weights_sha256(later)
