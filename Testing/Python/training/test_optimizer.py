"""Muon and AdamW share the weights; rates and averages follow their formulas."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from DRDMCore.errors import InputError
from DRDMCore.training.learner import learning_rate, update_average
from DRDMCore.training.objectives import new_objective
from DRDMCore.training.optimizer import Optimizer, inner_convolutions

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch without Muon")


def network(tiny, objective: str = "velocity") -> nn.Module:
    return new_objective(tiny(objective=objective)).network


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        if weight.requires_grad:
            weight.grad = torch.randn(weight.shape, generator=generator)


@needs_muon
@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_muon_makes_updates_of_inner_convolutions_orthogonal(objective, tiny):
    module = network(tiny, objective)
    settings = tiny(objective=objective, weight_decay=0.0, muon_rate=0.1)
    inner = inner_convolutions(module)
    before = [each.detach().clone() for each in inner]
    places = [each.data_ptr() for each in inner]
    optimizer = Optimizer(module, settings)
    give_gradients(module, 0)
    optimizer.step(settings.learning_rate)
    assert places == [each.data_ptr() for each in inner]
    for old, new in zip(before, inner, strict=True):
        change = (new.detach() - old).flatten(1)
        values = torch.linalg.svdvals(change)
        # Newton and Schulz come close to orthogonal: all directions learn at about one pace.
        assert float(values.max() / values[: min(change.shape)].median()) < 2
        scale = math.sqrt(max(1.0, change.shape[0] / change.shape[1]))
        assert 0.05 * scale < float(values.median()) < 0.15 * scale


@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_first_and_last_convolution_are_left_to_adamw(objective, tiny):
    module = network(tiny, objective)
    inner = {id(each) for each in inner_convolutions(module)}
    first, last = {
        "velocity": ("stem.weight", "head.weight"),
        "published": ("b1.0.conv0.weight", "conv_out.weight"),
    }[objective]
    for name, weight in module.named_parameters():
        wanted = weight.ndim >= 4 and name not in (first, last)
        assert (id(weight) in inner) == wanted, name


@pytest.mark.parametrize("name", ["adamw", pytest.param("muon", marks=needs_muon)])
def test_state_goes_round(name, tiny):
    settings = tiny(optimizer=name)
    here, there = network(tiny), network(tiny)
    optimizer = Optimizer(here, settings)
    for seed in range(3):
        give_gradients(here, seed)
        optimizer.step(1e-3)
    there.load_state_dict(here.state_dict())
    other = Optimizer(there, settings)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, module in ((optimizer, here), (other, there)):
        give_gradients(module, 9)
        each.step(5e-4)
    for one, two in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, two)


def test_adamw_alone_is_torchs_own(tiny):
    settings = tiny(optimizer="adamw")
    here, there = network(tiny), network(tiny)
    plain = torch.optim.AdamW(there.parameters(), lr=2e-3, weight_decay=settings.weight_decay)
    optimizer = Optimizer(here, settings)
    for seed in range(2):
        give_gradients(here, seed)
        give_gradients(there, seed)
        optimizer.step(2e-3)
        plain.step()
    for one, two in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, two)
    optimizer.zero_grad()
    assert all(each.grad is None for each in here.parameters())


def test_torch_without_muon_is_named(tiny, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    module = network(tiny)
    with pytest.raises(InputError, match=r"`optimizer`.*torch 2\.9.*'adamw'"):
        Optimizer(module, tiny(optimizer="muon"))
    Optimizer(module, tiny(optimizer="adamw"))


def test_learning_rate_rises_and_falls(tiny):
    settings = tiny(learning_rate=2.0e-3, warmup=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([2e-4 * step for step in range(1, 11)])
    assert max(rates) == rates[9] == pytest.approx(2e-3)
    assert rates[54] == pytest.approx(1e-3)  # half way down
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    flat = tiny(learning_rate=2.0e-3, warmup=0.1, decay="constant")
    assert [learning_rate(step, 100, flat) for step in (11, 60, 100)] == [2e-3] * 3
    assert learning_rate(1, 1, settings) == pytest.approx(2e-3)


def test_average_of_weights():
    mean, new = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        mean.weight.fill_(0.0)
        new.weight.fill_(1.0)
    for _ in range(5):
        update_average(mean, new, 0.9)
    torch.testing.assert_close(mean.weight.detach(), torch.full((1, 2), 1 - 0.9**5))
    assert float(new.weight.detach().min()) == 1.0
