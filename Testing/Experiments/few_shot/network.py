"""The segmentation network: MONAI's plain U-Net, trained in the same way in every arm."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np
import torch

from DRDMCore.recovery.blocks import in_full_precision
from Testing.Experiments.few_shot.augmenting import Augmenter
from Testing.Experiments.few_shot.study import Study
from Testing.Experiments.few_shot.subjects import Example


def built(study: Study, seed: int) -> torch.nn.Module:
    """A network with the weights of a seed."""
    nets: Any = importlib.import_module("monai.networks.nets")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: torch.nn.Module = nets.BasicUNet(
            spatial_dims=len(study.shape),
            in_channels=1,
            out_channels=1 + len(study.values),
            features=study.training.features,
            norm=("instance", {"affine": True}),
        )
    # Here 3D images are two voxels deep: see `fewest_voxels`.
    deepest: Any = network.down_4
    deepest.forward = functools.partial(in_full_precision, deepest.forward)
    return network


def trained(
    study: Study, augmenter: Augmenter, iterations: int, *, seed: int, device: str
) -> tuple[torch.nn.Module, float]:
    """Train a network.

    Args:
        study: What and how.
        augmenter: Gives the batches.
        iterations: Optimisation steps.
        seed: Of the first weights.
        device: Where to train.

    Returns:
        The network, and its mean loss over the last tenth of the steps.

    Raises:
        FloatingPointError: If the loss is no number.
    """
    losses: Any = importlib.import_module("monai.losses")
    network = built(study, seed).to(device).train()
    objective = losses.DiceCELoss(to_onehot_y=True, softmax=True)
    settings = study.training
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    kind, history = torch.device(device).type, []
    for step in range(iterations):
        images, labels = augmenter.batch(step, settings.batch)
        with torch.autocast(kind, torch.bfloat16, enabled=settings.precision == "bf16"):
            found = network(images.to(device))
        loss = objective(found.float(), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(float(loss.detach()))
        if not math.isfinite(history[-1]):
            raise FloatingPointError(
                f"the loss must be a number, was {history[-1]} after {step + 1} steps: nothing is "
                "kept of this run; try it with `precision` fp32."
            )
    return network.eval(), float(np.mean(history[-max(iterations // 10, 1) :]))


@torch.inference_mode()
def segmented(network: torch.nn.Module, example: Example, device: str) -> np.ndarray:
    """`(*S)` uint8: the label of the largest output at each voxel."""
    image = torch.from_numpy(example.image)[None, None].to(device)
    found: np.ndarray = network(image)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    return found
