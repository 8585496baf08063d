"""Model files: round trip, and what hostile or damaged files come to."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from DRDMCore.errors import ModelError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.models import (
    Card,
    Model,
    find_model,
    import_published,
    list_models,
    load_model,
    random_field_model,
    save_model,
    sha256_of,
)
from DRDMCore.recovery import (
    PublishedNetwork,
    PublishedStep,
    RecoverySettings,
    VelocityNetwork,
    VelocityStep,
)

VELOCITY = {"kind": "velocity", "dimension": 2, "widths": [8], "velocity_rms": 0.7, "gain": 1.0}
PUBLISHED = {"kind": "published", "dimension": 2, "side": 32, "levels": 80, "recursions": 2}


def model(kind: str = "velocity") -> Model:
    if kind == "velocity":
        step = VelocityStep(VelocityNetwork(2, widths=(8,)), velocity_rms=0.7)
    else:
        step = PublishedStep(PublishedNetwork(2), side=32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in step.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    grid = GridPolicy(
        dimension=2,
        mode="fov",
        side=32,
        spacing_mm=None,
        intensity="percentile",
        intensity_range=(0.5, 99.5),
    )
    return Model(
        card=Card(name="small", title="a small one", recommended={"level": 30}),
        grid=grid,
        field=RandomFieldSettings(scales=2),
        recovery=RecoverySettings(steps=3),
        step=step.eval(),
        architecture=VELOCITY if kind == "velocity" else PUBLISHED,
    )


@pytest.fixture
def saved(tmp_path):
    return save_model(model(), tmp_path / "small.safetensors")


def rewritten(path, change):
    """The file with its header or weights changed."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        header = json.loads(file.metadata()["drdm"])
    weights = load_file(path)
    header, weights = change(header, weights) or (header, weights)
    save_file(weights, path, metadata={"drdm": json.dumps(header)})
    return path


@pytest.mark.parametrize("kind", ["velocity", "published"])
def test_round_trip_keeps_every_bit(tmp_path, kind):
    before = model(kind)
    path = save_model(before, tmp_path / "m.safetensors")
    after = load_model(path)
    assert (after.card, after.grid, after.field, after.recovery) == (
        before.card,
        before.grid,
        before.field,
        before.recovery,
    )
    old, new = before.step.network.state_dict(), after.step.network.state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    image, t = torch.rand(1, 1, 16, 16), torch.tensor([40.0])
    with torch.no_grad():
        a, b = (m.step(image, t, t - 10) for m in (before, after))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)  # another memory layout
    assert after.sha256 == sha256_of(path) and after.path == path
    again = save_model(after, tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_steps_given_as_levels_survive(tmp_path):
    levels = replace(model("published"), recovery=RecoverySettings(steps=(40, 20, 0)))
    path = save_model(levels, tmp_path / "m.safetensors")
    assert load_model(path).recovery.steps == (40, 20, 0)


def test_random_field_has_no_file(tmp_path):
    assert random_field_model(3).step is None and random_field_model(2).grid.side == 256
    with pytest.raises(ValueError, match="must have a network"):
        save_model(random_field_model(2), tmp_path / "m.safetensors")


def test_models_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path))
    path = save_model(model(), tmp_path / "hearts.safetensors")
    assert path in list_models() and find_model("hearts") == path
    assert load_model("hearts").card.name == "small"
    with pytest.raises(ModelError, match=r"one of none.*hearts.*got 'harts'"):
        load_model("harts")


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_truncated_file_is_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"not a whole `.safetensors` file"):
        load_model(saved)


def test_random_bytes_are_refused(saved):
    saved.write_bytes(os.urandom(5000))
    with pytest.raises(ModelError, match=str(saved)):
        load_model(saved)


def test_flipped_bytes_never_crash(saved):
    """Every outcome is a model or a `ModelError`."""
    data = saved.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        broken = bytearray(data)
        at = int(torch.randint(0, 2500, (1,), generator=generator))
        broken[at] ^= 1 << int(torch.randint(0, 8, (1,), generator=generator))
        saved.write_bytes(bytes(broken))
        try:
            load_model(saved)
        except ModelError as error:
            assert "small.safetensors" in str(error)


def test_foreign_safetensors_is_no_drdm_model(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="no DRDM model"):
        load_model(path)
    save_file({"weight": torch.zeros(3)}, path, metadata={"drdm": "{"})
    with pytest.raises(ModelError, match="unreadable card"):
        load_model(path)
    for header in ([], {}, {"format": 99}):
        save_file({"weight": torch.zeros(3)}, path, metadata={"drdm": json.dumps(header)})
        with pytest.raises(ModelError, match="must have format 1"):
            load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "transformer"},
        {"dimension": 4},
        {"dimension": "2"},
        {"widths": [10**9]},
        {"widths": [8] * 50},
        {"widths": []},
        {"widths": [-8]},
        {"widths": "wide"},
        {"widths": None},
        {"velocity_rms": "much"},
        {"kind": "published", "levels": 10**9, "side": 32, "recursions": 2},
        {"kind": "published", "levels": "x", "side": 32, "recursions": 2},
        {"kind": "published", "levels": 80, "side": 32, "recursions": 0},
        {"kind": "published"},
    ],
    ids=str,
)
def test_absurd_architecture_is_refused(saved, change):
    def altered(header, weights):
        header["architecture"].update(change)

    with pytest.raises(ModelError, match=r"small\.safetensors"):
        load_model(rewritten(saved, altered))


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("grid", {"mode": "sideways"}),
        ("grid", {"side": -3}),
        ("field", {"integration": "euler"}),
        ("field", {"unheard_of": 1}),
        ("field", {"control_spacing": float("nan")}),
        ("field", {"scales": 10**6}),
        ("field", {"canvas": 1e6}),
        ("recovery", {"precision": "int4"}),
        ("recovery", {"steps": "many"}),
        ("recovery", {"steps": -4}),
        ("recovery", {"shared": "x"}),
        ("recovery", {"unheard_of": 1}),
        ("card", None),
        ("grid", None),
        ("field", None),
        ("recovery", None),
        ("architecture", None),
    ],
    ids=str,
)
def test_unusable_header_is_refused(saved, section, change):
    def altered(header, weights):
        if change is None:
            header[section] = "nothing"
        else:
            header[section].update(change)

    with pytest.raises(ModelError, match="unusable header"):
        load_model(rewritten(saved, altered))


def test_weights_must_fit_and_be_finite(saved):
    data = saved.read_bytes()

    def check(match, change):
        saved.write_bytes(data)
        with pytest.raises(ModelError, match=match):
            load_model(rewritten(saved, change))

    name = "head.weight"
    check("does not hold the weights", lambda h, w: (h, {k: v for k, v in w.items() if k != name}))
    check("does not hold the weights", lambda h, w: (h, {**w, "extra": torch.zeros(1)}))
    check("does not hold the weights", lambda h, w: (h, {**w, name: torch.zeros(2, 2)}))
    for bad in (float("nan"), float("inf")):
        check("NaN or infinite", lambda h, w, bad=bad: (h, {**w, name: w[name] * 0 + bad}))


# --- published checkpoints


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("wrap", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, wrap):
    path, trace = tmp_path / "bomb.pth", tmp_path / "trace"
    state = {"time_embed.weight": torch.zeros(80, 100), "bomb": Bomb(trace)}
    if wrap == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(ModelError, match="code, which is never run"):
        import_published(path, name="bomb")
    assert not trace.exists()
    with pytest.raises(ModelError, match=r"drdm import-weights bomb\.pth"):
        load_model(path)
    assert not trace.exists()


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(ModelError, match="does not exist"):
        import_published(path, name="x")
    path.write_bytes(os.urandom(500))
    with pytest.raises(ModelError, match="not a plain checkpoint"):
        import_published(path, name="x")
    good = PublishedNetwork(2).state_dict()
    for state in ({"weight": torch.zeros(3)}, [1, 2], {"time_embed.weight": 3}):
        torch.save(state, path)
        with pytest.raises(ModelError, match="wrong file"):
            import_published(path, name="x")
    torch.save({**good, "conv_out.bias": torch.full((2,), torch.nan)}, path)
    with pytest.raises(ModelError, match="NaN"):
        import_published(path, name="x")
    torch.save({**good, "conv_out.bias": torch.zeros(5)}, path)
    with pytest.raises(ModelError, match="does not hold the weights"):
        import_published(path, name="x")
    torch.save(good, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="not a plain checkpoint"):
        import_published(path, name="x")


def test_import_of_a_plain_checkpoint(tmp_path):
    path = tmp_path / "x.pth"
    state = PublishedNetwork(3, levels=20).state_dict()
    torch.save(state, path)
    imported = import_published(path, name="x", side=64)
    assert imported.levels == 20 and imported.step.side == 64 and imported.step.dimension == 3
    weights = imported.step.network.state_dict()
    assert all(torch.equal(weights[name], state[name]) for name in state)


def test_import_of_the_published_weights(shared_data, tmp_path):
    path = shared_data / "cmr_published" / "000000_cmr_recresacnet.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imported = import_published(path, name="cmr")
    assert imported.step.side == 256 and imported.levels == 80
    assert imported.field.amplitude == "published" and imported.recovery.start == "top"
    assert sha256_of(path) in imported.card.data
    loaded = load_model(save_model(imported, tmp_path / "cmr.safetensors"))
    state = torch.load(path, weights_only=True, map_location="cpu")
    weights = loaded.step.network.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
