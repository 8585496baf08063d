"""Recover a plausible deformation from a random one: the second half of Algorithm 2.

The original image is always warped by the composed field, so it is interpolated once, never
repeatedly: phi <- psi o phi, I_{t-1} = I_0 o phi.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from DRDMCore.checks import require_choice, require_field_for_image
from DRDMCore.errors import MemoryLimitError
from DRDMCore.fields import IMAGE_MODES, compose, warp
from DRDMCore.recovery.fused import weights_kept
from DRDMCore.recovery.schedule import STARTS
from DRDMCore.recovery.step import RecoveryStep

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecoverySettings:
    """How a recovery runs.

    Attributes:
        start: `level` begins at the level of the start field (paper), `top` at T - 1 (published).
        steps: Number of passes, or the levels themselves, or `None` for the network's own choice.
        image_mode: Interpolation of the image between passes, as in `fields.warp`.
        image_padding: The image outside the grid: `border` or `zeros`.
        field_padding: The composed field outside the grid: `border` or `zeros`.
        precision: `fp32`, `bf16` or `fp16` for the network; fields and warps stay fp32.
        shared: The batch is one stack with one field.
    """

    start: str = "level"
    steps: int | tuple[int, ...] | None = None
    image_mode: str = "linear"
    image_padding: str = "border"
    field_padding: str = "border"
    precision: str = "fp32"
    shared: bool = False

    def __post_init__(self) -> None:
        """Check every choice by name."""
        require_choice("start", self.start, STARTS)
        require_choice("image_mode", self.image_mode, IMAGE_MODES)
        require_choice("image_padding", self.image_padding, ("border", "zeros"))
        require_choice("field_padding", self.field_padding, ("border", "zeros"))
        require_choice("precision", self.precision, tuple(PRECISIONS))
        require_choice("shared", self.shared, (False, True))
        levels = (self.steps,) if isinstance(self.steps, int) else self.steps or ()
        if not all(isinstance(each, int) and each >= 0 for each in levels) or self.steps == 0:
            raise ValueError(
                f"`steps` must be a number of passes or whole levels, got {self.steps!r}."
            )


@dataclass(frozen=True)
class StepInfo:
    """What the callback is told after each pass.

    Attributes:
        index: Passes done.
        total: Passes in all.
        ddf: `(B, D, *S)` composed field so far, voxels.
        image: `(B, C, *S)` original warped by it.
    """

    index: int
    total: int
    ddf: Tensor
    image: Tensor


class Recovery(NamedTuple):
    """A recovered field.

    Attributes:
        ddf: `(B, D, *S)` displacement, voxels.
        image: `(B, C, *S)` original warped by it.
        finished: `False` if the callback stopped the recovery.
    """

    ddf: Tensor
    image: Tensor
    finished: bool


StepCallback = Callable[[StepInfo], object]
"""Told each pass; answering `False` stops the recovery there."""


def recover(
    network: RecoveryStep,
    image: Tensor,
    ddf: Tensor,
    level: int | Sequence[int],
    settings: RecoverySettings | None = None,
    *,
    window: Tensor | None = None,
    callback: StepCallback | None = None,
) -> Recovery:
    """Take the implausible part of a deformation away, step by step.

    Args:
        network: The recovery step of a model.
        image: `(B, 1, *S)` original image in [0, 1].
        ddf: `(B, D, *S)` start field, voxels; any field will do.
        level: Level of the start field, one for all or one per sample.
        settings: How the recovery runs.
        window: `(1, 1, *S)` factor of every step, 0 where the field must stay as it is.
        callback: Told after each pass; `False` stops.

    Returns:
        The composed field and the image warped by it.

    Raises:
        ValueError: If shapes, levels or settings do not fit.
    """
    settings = settings or RecoverySettings()
    require_field_for_image(image, ddf)
    batch = max(len(image), len(ddf))
    levels = torch.tensor([level] * batch if isinstance(level, int) else list(level)).float()
    if len(levels) != batch:
        raise ValueError(f"`level` must have one entry per sample ({batch}), got {len(levels)}.")
    plan = network.plan(levels, start=settings.start, steps=settings.steps)
    image = image.expand(batch, *image.shape[1:])
    ddf = ddf.expand(batch, *ddf.shape[1:]).clone()
    finished = True
    with _inference(image.device, settings.precision):
        warped = _warped(image, ddf, settings)
        for index, (before, after) in enumerate(plan, start=1):
            active = (before != after).nonzero().flatten().to(image.device)
            ddf, warped = _advance(
                network, image, ddf, warped, active, (before, after), settings, window
            )
            told = StepInfo(index, len(plan), ddf, warped)
            if callback is not None and callback(told) is False:
                finished = False
                break
    return Recovery(ddf, warped, finished)


def recover_within_memory(
    network: RecoveryStep,
    image: Tensor,
    ddf: Tensor,
    level: int | Sequence[int],
    settings: RecoverySettings | None = None,
    *,
    window: Tensor | None = None,
    callback: StepCallback | None = None,
    note: Callable[[str], object] = _log.warning,
) -> Recovery:
    """`recover`, with smaller batches and then the CPU where the GPU's memory is not enough.

    Args: as `recover`, and
        note: Told in one sentence what was done about memory.

    Raises:
        MemoryLimitError: If one sample does not fit the CPU's memory either.
    """
    try:
        return recover(network, image, ddf, level, settings, window=window, callback=callback)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # Only here, after the `except`: until then the traceback keeps the tensors alive.
    _free_memory(image.device)
    shared = settings is not None and settings.shared
    batch = max(len(image), len(ddf))
    if batch > 1 and not shared:
        note(f"{image.device} ran out of memory with {batch} samples: going on in two halves")
        return _in_halves(network, image, ddf, level, settings, window, callback, note)
    if image.device.type == "cpu":
        raise MemoryLimitError(
            f"one image of {tuple(image.shape[2:])} voxels does not fit the memory: use a model "
            "with a smaller grid."
        )
    note(f"{image.device} has not enough memory for one sample: going on with the CPU")
    return _on_cpu(network, image, ddf, level, settings, window, callback, note)


def _warped(image: Tensor, ddf: Tensor, settings: RecoverySettings) -> Tensor:
    """The original pulled through the composed field."""
    return warp(image, ddf, mode=settings.image_mode, padding=settings.image_padding)


def _advance(
    network: RecoveryStep,
    image: Tensor,
    ddf: Tensor,
    warped: Tensor,
    active: Tensor,
    levels: tuple[Tensor, Tensor],
    settings: RecoverySettings,
    window: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One pass for the samples whose turn it is; the others rest."""
    if len(active) == 0:
        return ddf, warped
    before, after = (each.to(image.device)[active] for each in levels)
    with torch.autocast(
        image.device.type,
        dtype=PRECISIONS[settings.precision],
        enabled=settings.precision != "fp32",
    ):
        step = network(warped[active], before, after, window=window, shared=settings.shared)
    moved = compose(ddf[active], step.float(), padding=settings.field_padding)
    ddf = ddf.index_copy(0, active, moved)
    return ddf, warped.index_copy(0, active, _warped(image[active], moved, settings))


@contextlib.contextmanager
def _inference(device: torch.device, precision: str) -> Iterator[None]:
    """No gradients; on CUDA repeatable convolutions, and no tf32 unless precision was given up."""
    with torch.no_grad(), weights_kept(), contextlib.ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True,
                    benchmark=False,
                    deterministic=True,
                    allow_tf32=precision != "fp32",
                )
            )
        yield


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out; the CPU's allocator has no exception of its own for that."""
    text = str(error)
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        "DefaultCPUAllocator" in text and ("allocate memory" in text or "enough memory" in text)
    )


def _free_memory(device: torch.device) -> None:
    """Give cached blocks back before the next try."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _in_halves(
    network: RecoveryStep,
    image: Tensor,
    ddf: Tensor,
    level: int | Sequence[int],
    settings: RecoverySettings | None,
    window: Tensor | None,
    callback: StepCallback | None,
    note: Callable[[str], object],
) -> Recovery:
    """The first and the second half of the batch, one after the other."""
    batch = max(len(image), len(ddf))
    parts = []
    for low, high in ((0, batch // 2), (batch // 2, batch)):
        parts.append(
            recover_within_memory(
                network,
                image if len(image) == 1 else image[low:high],
                ddf if len(ddf) == 1 else ddf[low:high],
                level if isinstance(level, int) else level[low:high],
                settings,
                window=window,
                callback=callback,
                note=note,
            )
        )
    return Recovery(
        torch.cat([part.ddf for part in parts]),
        torch.cat([part.image for part in parts]),
        all(part.finished for part in parts),
    )


def _on_cpu(
    network: RecoveryStep,
    image: Tensor,
    ddf: Tensor,
    level: int | Sequence[int],
    settings: RecoverySettings | None,
    window: Tensor | None,
    callback: StepCallback | None,
    note: Callable[[str], object],
) -> Recovery:
    """The whole recovery on the CPU; network and result go back to the device afterwards."""
    assert isinstance(network, nn.Module)
    device = image.device
    network.to("cpu")
    try:
        result = recover_within_memory(
            network,
            image.cpu(),
            ddf.cpu(),
            level,
            settings,
            window=None if window is None else window.cpu(),
            callback=callback,
            note=note,
        )
    finally:
        network.to(device)
    return Recovery(result.ddf.to(device), result.image.to(device), result.finished)
