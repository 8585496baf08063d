"""Train a velocity network (docs/method.md): read it from top to bottom."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from DRDMCore import __version__
from DRDMCore.atomic import require_writable
from DRDMCore.errors import InputError, OutputError
from DRDMCore.fields import random_flows
from DRDMCore.models import Card, Model, save_model
from DRDMCore.progress import Callback, Event, tell
from DRDMCore.recovery import RecoverySettings, VelocityNetwork, VelocityStep, image_count
from DRDMCore.training.data import affine_coordinates, draw_batch, read_subjects, read_through
from DRDMCore.training.settings import InputAugmentation, TrainingSettings

_VALIDATION_SCALES = (0.31, 0.523, 0.76)
_FULL_COUNT = image_count(79)
_STILL = InputAugmentation(rotation_deg=0, scaling=0, shift=0)


def train(
    settings: TrainingSettings,
    path: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Callback | None = None,
    validate_every: int = 200,
) -> Model:
    """Train a velocity network and write the model.

    The model file is written at every validation, so a killed run leaves a usable model.

    Args:
        settings: The run.
        path: The model file.
        device: Where to train.
        progress: Told each step; answering `False` stops, with the model of that moment written.
        validate_every: Steps between validations.

    Returns:
        The model of the averaged weights.

    Raises:
        InputError: If the data cannot be used.
        OutputError: If the model cannot be written.
        Cancelled: If the caller stopped the run.
    """
    device = torch.device(device)
    _require_model_path(path)
    training, validation = read_subjects(settings)
    generator = torch.Generator().manual_seed(settings.seed)
    network = _new_network(settings).to(device)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=0.01
    )
    velocity_rms = measure_velocity_rms(settings)
    history: list[dict[str, float]] = []
    started = time.monotonic()

    def snapshot(step: int) -> Model:
        trained = _new_network(settings)
        trained.load_state_dict({k: v.cpu() for k, v in average.items()})
        model = _as_model(settings, trained, velocity_rms, history, step, started)
        save_model(model, path)
        return model

    done = 0
    try:
        for step in range(1, settings.steps + 1):
            loss = _loss(network, training, settings, velocity_rms, generator, device)
            _optimise(network, optimizer, loss, _rate(step, settings))
            _update_average(average, network, min(settings.ema, step / (step + 10)))
            done = step
            data = {"loss": loss.item(), "seconds": round(time.monotonic() - started, 1)}
            if step % validate_every == 0 or step == settings.steps:
                data |= validate(average, validation, settings, velocity_rms, device)
                history.append({"step": step, **data})
                snapshot(step)
            tell(progress, Event("step", _line(data), step, settings.steps, data))
    finally:
        if done:
            model = snapshot(done)
    return model


def _new_network(settings: TrainingSettings) -> VelocityNetwork:
    """A network with the first weights of the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return VelocityNetwork(len(settings.shape), widths=settings.widths)


def measure_velocity_rms(settings: TrainingSettings) -> float:
    """Root mean square of the velocity at scale 1, per component, half-resolution voxels."""
    generators = [torch.Generator().manual_seed(10_000 + i) for i in range(16)]
    flows = random_flows(
        settings.shape,
        [0.0] * 16,
        generators,
        settings.field,
        full_count=_FULL_COUNT,
        svf_shape=[side // 2 for side in settings.shape],
    )
    return float(flows.svf.square().mean().sqrt())


def validate(
    weights: dict[str, Tensor],
    subjects: list[Any],
    settings: TrainingSettings,
    velocity_rms: float,
    device: torch.device,
) -> dict[str, float]:
    """Share of the velocity's variance that the network explains on held-out subjects, by scale."""
    network = _new_network(settings).to(device)
    network.load_state_dict(weights)
    result = {}
    for scale in _VALIDATION_SCALES:
        generator = torch.Generator().manual_seed(1)
        unexplained, total = 0.0, 0.0
        for _ in range(max(1, 32 // settings.batch)):
            with torch.no_grad():
                predicted, wanted, weight = _prediction(
                    network, subjects, settings, velocity_rms, generator, device, scale=scale
                )
            unexplained += float(((predicted - wanted).square() * weight).sum())
            total += float((wanted.square() * weight).sum())
        result[f"r2_{scale:g}"] = 1 - unexplained / total
    return result


def _loss(
    network: VelocityNetwork,
    subjects: list[Any],
    settings: TrainingSettings,
    velocity_rms: float,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """MSE of the velocity and of its gradient; its best prediction is the posterior mean."""
    predicted, wanted, weight = _prediction(
        network, subjects, settings, velocity_rms, generator, device, scale=None
    )
    error = predicted - wanted
    loss = (error.square() * weight).mean()
    for axis in range(2, error.ndim):
        slope = torch.diff(error, dim=axis)
        share = weight.narrow(axis, 1, weight.shape[axis] - 1)
        loss = loss + settings.gradient_weight / (error.ndim - 2) * (slope.square() * share).mean()
    return loss


def _optimise(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float
) -> None:
    """One step; a loss or slope that is no number is refused before it spoils the weights."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
        raise InputError(
            f"the loss is no longer a number (loss {loss.item():g}, gradient {norm.item():g}): "
            "lower `learning_rate`, or set `precision` to fp32."
        )
    optimizer.step()


def _require_model_path(path: Path) -> None:
    """Refuse, before hours of work, a model file that could not be written or found again."""
    if path.suffix != ".safetensors":
        raise InputError(f"the model's file must end with .safetensors, got {path}.")
    if path.is_dir():
        raise OutputError(f"{path} must be the model's file, but is a folder: name a file in it.")
    require_writable(path.parent)


def _prediction(
    network: Callable[[Tensor, Tensor], Tensor],
    subjects: list[Any],
    settings: TrainingSettings,
    velocity_rms: float,
    generator: torch.Generator,
    device: torch.device,
    *,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Deform a batch and predict its velocity: predicted, wanted (unit rms), weight."""
    training = scale is None
    image, mask = draw_batch(subjects, settings, generator, augment=training)
    scales = (
        torch.rand(settings.batch, generator=generator)
        if scale is None
        else torch.full((settings.batch,), scale)
    )
    half = [side // 2 for side in settings.shape]
    flows = random_flows(
        settings.shape,
        scales.tolist(),
        [generator] * settings.batch,
        settings.field,
        full_count=_FULL_COUNT,
        svf_shape=half,
        device=device,
    )
    variation = settings.augmentation if training else _STILL
    affine = affine_coordinates(settings.shape, settings.batch, variation, generator)
    image, mask = image.to(device), mask.to(device)
    deformed = read_through(image, affine.to(device), flows.ddf)
    inside = read_through(mask, affine.to(device), flows.ddf)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        predicted = network(deformed, scales.to(device))
    pool = torch.nn.functional.avg_pool2d if len(half) == 2 else torch.nn.functional.avg_pool3d
    weight = settings.padding_weight + (1 - settings.padding_weight) * pool(inside, 2)
    return predicted, flows.svf / velocity_rms, weight


def _rate(step: int, settings: TrainingSettings) -> float:
    """Warm-up over 2 % of the steps, then a cosine to zero."""
    steps, highest = settings.steps, settings.learning_rate
    warm = max(1, steps // 50)
    if step <= warm:
        return highest * step / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _update_average(average: dict[str, Tensor], network: torch.nn.Module, decay: float) -> None:
    """Exponential moving average of the weights."""
    for name, value in network.state_dict().items():
        average[name].lerp_(value.detach(), 1 - decay)


def _line(data: dict[str, float]) -> str:
    """One line for people."""
    parts = [f"{name} {value:.3f}" for name, value in data.items() if name != "seconds"]
    return ", ".join(parts)


def _as_model(
    settings: TrainingSettings,
    network: VelocityNetwork,
    velocity_rms: float,
    history: list[dict[str, float]],
    step: int,
    started: float,
) -> Model:
    """Network, grid, field and card as one model."""
    last = {k: round(v, 4) for k, v in history[-1].items()} if history else {}
    facts = {
        "steps": step,
        "seconds": round(time.monotonic() - started),
        "batch": settings.batch,
        "shape": list(settings.shape),
        "seed": settings.seed,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "DRDMCore": __version__,
        "augmentation": asdict(settings.augmentation),
    }
    card = {"recommended": {"level": 48, "steps": 8, "gain": settings.gain}, **settings.card}
    return Model(
        card=Card(name=settings.name, metrics=last, training=facts, **card),
        grid=settings.grid,
        field=settings.field,
        recovery=RecoverySettings(steps=8),
        step=VelocityStep(network, velocity_rms=velocity_rms, gain=settings.gain),
        architecture={
            "kind": "velocity",
            "dimension": len(settings.shape),
            "widths": list(settings.widths),
            "velocity_rms": velocity_rms,
            "gain": settings.gain,
        },
    )
