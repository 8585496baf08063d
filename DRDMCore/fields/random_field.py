"""The multi-scale random field: the "noise" of the diffusion (docs/conventions.md).

White noise at several scales is summed to a smooth velocity on a coarse control grid over a canvas
of twice the image's field of view; its n-fold composition is a random diffeomorphism.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from DRDMCore.checks import require_choice
from DRDMCore.fields.grid import Box, apply_along_axes, cut, resampling_matrix, upsample
from DRDMCore.fields.integrate import METHODS, exp_svf, integrate
from DRDMCore.fields.warp import warp

AMPLITUDES = ("geometric", "published")
_PUBLISHED_CONTROL_POINTS = 64
_MOST_SCALES, _LARGEST_CANVAS = 12, 8.0


@dataclass(frozen=True)
class RandomFieldSettings:
    """How random fields are drawn.

    Attributes:
        control_spacing: Distance of control points, in voxels of the finest image axis.
        scales: Number of noise scales, each twice as coarse and twice as strong as the last.
        velocity_sd: Standard deviation of the finest scale, control voxels per step.
        second_draw: Amplitude of the extra draw that only the image's field gets, relative.
        canvas: Extent of the canvas, relative to the image's field of view.
        amplitude: `geometric` keeps the physical amount when the field goes to the image's grid;
            `published` scales it by (side / control points) / 2 more, as the published program.
        integration: `squaring`, `sequential` or `exact`.
        padding: Velocity outside the canvas: `border` or `zeros`.
    """

    control_spacing: float = 4.0
    scales: int = 4
    velocity_sd: float = 4e-5 * _PUBLISHED_CONTROL_POINTS
    second_draw: float = 0.0
    canvas: float = 2.0
    amplitude: str = "geometric"
    integration: str = "squaring"
    padding: str = "border"

    def __post_init__(self) -> None:
        """Check every setting by name."""
        require_choice("amplitude", self.amplitude, AMPLITUDES)
        require_choice("integration", self.integration, tuple(METHODS))
        require_choice("padding", self.padding, ("border", "zeros"))
        for name in ("control_spacing", "velocity_sd", "canvas"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be a number > 0, got {value!r}.")
        if self.canvas > _LARGEST_CANVAS:
            raise ValueError(f"`canvas` must be at most {_LARGEST_CANVAS}, got {self.canvas!r}.")
        if not isinstance(self.scales, int) or not 1 <= self.scales <= _MOST_SCALES:
            raise ValueError(
                f"`scales` must be a whole number 1 .. {_MOST_SCALES}, got {self.scales!r}."
            )
        if not self.second_draw >= 0:
            raise ValueError(f"`second_draw` must be >= 0, got {self.second_draw}.")

    @property
    def gain(self) -> float:
        """Factor on the displacement beyond its physical amount (1 where it is kept)."""
        return self.control_spacing / 4.0 if self.amplitude == "published" else 1.0


class RandomFields(NamedTuple):
    """Fields of one draw, `(B, D, *S)` in voxels of the image's grid.

    Attributes:
        ddf: The field that deforms the image.
        target: The field that the published objective asks the network for, or `None`.
    """

    ddf: Tensor
    target: Tensor | None


class RandomFlows(NamedTuple):
    """Flows of a stationary velocity.

    Attributes:
        ddf: `(B, D, *S)` displacement at each sample's scale, voxels of the image's grid.
        svf: `(B, D, *svf_shape)` velocity at scale 1, voxels of its own grid per unit time.
    """

    ddf: Tensor
    svf: Tensor


def published_field(side: int, *, v_scale: float = 4e-5) -> RandomFieldSettings:
    """The published program's field for an image of `side` voxels: 64 control points a canvas."""
    return RandomFieldSettings(
        control_spacing=2.0 * side / _PUBLISHED_CONTROL_POINTS,
        velocity_sd=v_scale * _PUBLISHED_CONTROL_POINTS,
        second_draw=0.08,
        amplitude="published",
        integration="sequential",
    )


def random_svf(
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    settings: RandomFieldSettings,
    *,
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Draw velocities on the control grid of an image's canvas.

    Args:
        shape: Spatial shape of the image.
        generators: One CPU generator per sample.
        settings: How the field is drawn.
        spacing: Voxel spacing per axis, any unit (isotropic by default): the field is isotropic in
            that unit on any grid.

    Returns:
        `(B, D, *control)` velocity on the CPU, float32, control voxels per step.
    """
    canvas = _canvas(shape, settings, spacing)
    return torch.cat([_draw(canvas.shape, g, settings, settings.velocity_sd) for g in generators])


def random_fields(
    shape: Sequence[int],
    counts: Sequence[int],
    generators: Sequence[torch.Generator],
    settings: RandomFieldSettings,
    *,
    spacing: Sequence[float] | None = None,
    target_counts: Sequence[int] | None = None,
    window: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> RandomFields:
    """Draw random displacement fields on an image's grid.

    Args:
        shape: Spatial shape of the image, 2 or 3 sides.
        counts: Steps of the velocity per sample (`recovery.schedule.image_count`).
        generators: One CPU generator per sample, drawn in order.
        settings: How the field is drawn.
        spacing: Voxel spacing per axis, any unit; isotropic by default.
        target_counts: Steps of the clean velocity for the training target, if wanted.
        window: `(1, 1, *shape)` factor of the velocity; where it is 0 at the border, the border
            stays fixed and the field stays free of folds. Integrated by `exp_svf` then.
        device: Where the field is integrated and returned.

    Returns:
        The fields, float32, voxels.

    Raises:
        ValueError: If the lengths do not fit.
    """
    if not len(counts) == len(generators) == len(target_counts or counts):
        raise ValueError(
            f"`counts` ({len(counts)}), `generators` ({len(generators)}) and `target_counts` must "
            "have one entry per sample."
        )
    canvas = _canvas(shape, settings, spacing)
    svf = random_svf(shape, generators, settings, spacing=spacing)
    second = [
        _draw(canvas.shape, g, settings, settings.velocity_sd * settings.second_draw)
        for g in generators
        if settings.second_draw > 0
    ]
    svf = svf.to(device)
    moving = svf
    if second:
        moving = svf + warp(torch.cat(second).to(device), svf, padding=settings.padding)
    if window is None:
        ddf = _integrated(moving, counts, canvas, settings)
    else:
        ddf = _flow_in_window(moving, counts, canvas, settings, window)
    target = None if target_counts is None else _integrated(svf, target_counts, canvas, settings)
    return RandomFields(ddf, target)


def random_flows(
    shape: Sequence[int],
    scales: Sequence[float],
    generators: Sequence[torch.Generator],
    settings: RandomFieldSettings,
    *,
    full_count: int,
    svf_shape: Sequence[int],
    device: torch.device | str = "cpu",
) -> RandomFlows:
    """Draw velocities and their flows for real-valued scales: pairs to train a velocity network on.

    Args:
        shape: Spatial shape of the image.
        scales: Flow time per sample, 0 .. 1, as a fraction of `full_count` steps.
        generators: One CPU generator per sample.
        settings: How the field is drawn (no second draw, geometric amplitude).
        full_count: Steps at scale 1.
        svf_shape: Grid on which the velocity is wanted, over the same field of view.
        device: Where the flow is computed and returned.

    Returns:
        Flows and velocities.
    """
    canvas = _canvas(shape, settings, None)
    ratio = [new / old for new, old in zip(svf_shape, shape, strict=True)]
    coarse = _Canvas(
        canvas.shape,
        tuple(
            start + step * (0.5 / r - 0.5)
            for start, step, r in zip(canvas.start, canvas.step, ratio, strict=True)
        ),
        tuple(step / r for step, r in zip(canvas.step, ratio, strict=True)),
        tuple(svf_shape),
    )
    svf = full_count * random_svf(shape, generators, settings).to(device)
    time = torch.tensor(list(scales), device=device).reshape(-1, *[1] * (len(shape) + 1))
    ddf = exp_svf(svf * time, steps=3)  # off by 0.3 % on average at scale 1
    return RandomFlows(canvas.to_image(ddf, 1.0), coarse.to_image(svf, 1.0))


def random_field_of_mean(
    shape: Sequence[int],
    mean: float,
    generator: torch.Generator,
    settings: RandomFieldSettings,
    *,
    spacing: Sequence[float] | None = None,
    window: Tensor | None = None,
) -> Tensor:
    """A random field whose mean displacement is given: the flow time is searched for.

    Scaling the time instead of the field keeps it free of folds.

    Args:
        shape: Spatial shape of the image.
        mean: Wanted mean displacement, in the unit of `spacing` (voxels by default).
        generator: CPU generator.
        settings: How the velocity is drawn.
        spacing: Voxel spacing per axis.
        window: `(1, 1, *shape)` factor of the velocity (0 at the border keeps it fixed).

    Returns:
        `(1, D, *shape)` displacement, voxels of the image's grid.

    Raises:
        ValueError: If `mean` is not a positive number or cannot be reached.
    """
    if not (math.isfinite(mean) and mean > 0):
        raise ValueError(f"`mean` must be a number > 0, got {mean!r}.")
    canvas = _canvas(shape, settings, spacing)
    svf = canvas.to_image(random_svf(shape, [generator], settings, spacing=spacing), 1.0)
    if window is not None:
        svf = svf * window
    unit = torch.tensor(spacing or [1.0] * len(shape)).reshape(1, -1, *[1] * len(shape))
    low, high, ddf = 0.0, 1.0, svf
    speed = float((svf * unit).norm(dim=1).mean())
    for _ in range(40):
        time = high if low == 0.0 else 0.5 * (low + high)
        ddf = exp_svf(svf * (time * mean / speed), steps=5)
        got = float((ddf * unit).norm(dim=1).mean())
        if abs(got - mean) <= 0.005 * mean:
            return ddf
        if got < mean:
            low, high = time, (2 * high if time == high else high)
        else:
            high, low = time, (low or 1e-9)
    raise ValueError(
        f"`mean` of {mean:g} cannot be reached on a grid of {tuple(shape)} voxels: ask for less "
        f"(the field tried last moves {got:g})."
    )


@dataclass(frozen=True)
class _Canvas:
    """Control grid of a canvas centred on the image."""

    shape: tuple[int, ...]
    start: tuple[float, ...]  # control coordinate of the image's first voxel
    step: tuple[float, ...]  # control voxels per image voxel
    image_shape: tuple[int, ...]

    @property
    def box(self) -> Box:
        """The control voxels that the image's voxels read."""
        bounds = []
        for size, start, step, side in zip(
            self.shape, self.start, self.step, self.image_shape, strict=True
        ):
            last = start + step * (side - 1)
            bounds.append((max(math.floor(start), 0), min(math.ceil(last) + 1, size)))
        return tuple(bounds)

    def to_image(self, field: Tensor, gain: float) -> Tensor:
        """Bring a field of the box (or the whole control grid) to the image's voxels."""
        whole = field.shape[2:] == self.shape
        box = tuple((0, size) for size in self.shape) if whole else self.box
        grids = zip(box, self.image_shape, self.start, self.step, strict=True)
        matrices = [
            resampling_matrix(high - low, side, start=start - low, step=step).to(field)
            for (low, high), side, start, step in grids
        ]
        scale = torch.tensor([gain / step for step in self.step]).to(field)
        # Scaled first: there are far fewer control points than voxels.
        field = field * scale.reshape(1, -1, *[1] * len(self.shape))
        return apply_along_axes(field, matrices)


def _canvas(
    shape: Sequence[int], settings: RandomFieldSettings, spacing: Sequence[float] | None
) -> _Canvas:
    """Lay the control grid over the canvas: isotropic in the unit of `spacing`."""
    spacing = tuple(spacing or [1.0] * len(shape))
    if len(spacing) != len(shape) or min(spacing) <= 0:
        raise ValueError(f"`spacing` must be {len(shape)} numbers > 0, got {spacing}.")
    distance = settings.control_spacing * min(spacing)
    step = tuple(value / distance for value in spacing)
    control = tuple(
        max(math.ceil(settings.canvas * side * s - 1e-6), math.ceil(side * s) + 3)
        for side, s in zip(shape, step, strict=True)
    )
    start = tuple(
        0.5 * (size - 1) - 0.5 * (side - 1) * s
        for size, side, s in zip(control, shape, step, strict=True)
    )
    return _Canvas(control, start, step, tuple(shape))


def _draw(
    control: Sequence[int], generator: torch.Generator, settings: RandomFieldSettings, sd: float
) -> Tensor:
    """Sum of the scales for one sample: `(1, D, *control)`."""
    total = torch.zeros(1, len(control), *control)
    for exponent in range(settings.scales):
        factor = 2**exponent
        coarse = [math.ceil(size / factor) for size in control]
        noise = torch.randn(1, len(control), *coarse, generator=generator) * (sd * factor)
        fine = upsample(noise, factor)
        total += cut(fine, tuple((0, size) for size in control))
    return total


def _integrated(
    svf: Tensor, counts: Sequence[int], canvas: _Canvas, settings: RandomFieldSettings
) -> Tensor:
    """Integrate on the control grid, crop, and bring the field to the image's grid."""
    ddf = integrate(
        svf, counts, method=settings.integration, box=canvas.box, padding=settings.padding
    )
    return canvas.to_image(ddf, settings.gain)


def _flow_in_window(
    svf: Tensor,
    counts: Sequence[int],
    canvas: _Canvas,
    settings: RandomFieldSettings,
    window: Tensor,
) -> Tensor:
    """Flow of the velocity on the image's own grid, slowed down by the window."""
    velocity = canvas.to_image(svf, settings.gain) * window.to(svf)
    time = torch.tensor(list(counts), device=svf.device).reshape(-1, *[1] * (svf.ndim - 1))
    return exp_svf(velocity * time, steps=5)
