"""Train a network on pairs, in the same way in every arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import warp
from Testing.Experiments.few_shot.subjects import Example
from Testing.Experiments.registration.losses import correlation, endpoint_misses, roughness
from Testing.Experiments.registration.network import RegistrationNetwork
from Testing.Experiments.registration.pairs import Pairs, Source
from Testing.Experiments.registration.study import Study


def built(study: Study, seed: int) -> RegistrationNetwork:
    """A network with the weights of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RegistrationNetwork(len(study.data.shape), study.training.features)


def trained(
    study: Study,
    sources: Sequence[Source],
    iterations: int,
    *,
    seed: int,
    smoothness: float = 0.0,
    device: str = "cpu",
) -> tuple[RegistrationNetwork, float]:
    """Train a network.

    Args:
        study: What and how.
        sources: Where the pairs come from, taken in turns.
        iterations: Optimisation steps.
        seed: Of the first weights.
        smoothness: Weight of the roughness of velocities between real pairs.
        device: Where to train.

    Returns:
        The network, and its mean loss over the last tenth of the steps.
    """
    network = built(study, seed).to(device).train()
    settings = study.training
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    kind, history = torch.device(device).type, []
    for step in range(iterations):
        turn, source = divmod(step, len(sources))
        pairs = sources[source].pairs(turn, settings.batch).to(device)
        with torch.autocast(kind, torch.bfloat16, enabled=settings.precision == "bf16"):
            ddf, velocity = network(pairs.moving, pairs.fixed)
        loss = loss_of(pairs, ddf, velocity, similarity=settings.similarity, smoothness=smoothness)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(float(loss.detach()))
    return network.eval(), float(np.mean(history[-max(iterations // 10, 1) :]))


def loss_of(
    pairs: Pairs, ddf: Tensor, velocity: Tensor, *, similarity: float, smoothness: float
) -> Tensor:
    """End-point error and likeness of made pairs; likeness and smoothness of real ones."""
    moving, fixed = pairs.clean
    unlike = 1 - correlation(warp(moving, ddf), fixed)
    if pairs.ways is None:
        return unlike + smoothness * roughness(velocity)
    return endpoint_misses(ddf, *pairs.ways).mean() + similarity * unlike


@torch.inference_mode()
def registered(
    network: RegistrationNetwork, moving: Example, fixed: Example, device: str = "cpu"
) -> np.ndarray:
    """The field of a network between two subjects: `(D, *S)` voxels."""
    pair = (torch.from_numpy(each.image)[None, None].to(device) for each in (moving, fixed))
    ddf, _ = network(*pair)
    found: np.ndarray = ddf[0].cpu().numpy()
    return found
