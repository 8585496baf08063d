"""Networks and recoveries: parity with recorded outputs, and whole recoveries by their numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import folding_percent, jacobian_determinant, published_field
from DRDMCore.models import import_published, published_recovery
from DRDMCore.recovery import (
    PublishedNetwork,
    PublishedStep,
    RecoverySettings,
    deform,
    recover,
)
from Testing.Benchmarks.accuracy_row import Row, at_most, near, recorded, shared

SEEDS = range(4)
LEVEL = 48
# The study before this project, levels 79 .. 0 with 2 recursions: mean of 8 slices.
PUBLISHED = {"residual": 0.326, "NCC": 0.649, "folded %": 1.4}
TOLERANCE = {"residual": 0.08, "NCC": 0.1, "folded %": 1.5}


def rows() -> Iterator[Row]:
    """All rows of this part."""
    weights = shared("data", "cmr_published", "000000_cmr_recresacnet.pth")
    step = import_published(weights, name="cmr").step
    assert isinstance(step, PublishedStep)
    yield from _outputs(step, "cmr2d.npz", (0, 5, 40, 79), 256)
    network = PublishedNetwork(3).eval()
    state = torch.load(shared("reference", "net3d_state.pth"), weights_only=True)
    network.load_state_dict(state, strict=True)
    yield from _outputs(PublishedStep(network, side=32), "net3d.npz", (0, 40, 79), 32)
    yield _one_step(step)
    yield from _whole_recoveries(step)


def _outputs(step: PublishedStep, name: str, levels: tuple[int, ...], side: int) -> Iterator[Row]:
    arrays = recorded(name)
    image = torch.from_numpy(arrays["image"])
    for level in levels:
        t = torch.tensor([float(level)])
        for passes in (1, 2):
            with torch.no_grad():
                single = PublishedStep(step.network, side=side, recursions=passes)
                ours = single(image, t, t)
            theirs = torch.from_numpy(arrays[f"net_t{level}_rec{passes}"]) * side
            error = float((ours - theirs).norm() / theirs.norm())
            what = f"network output vs recorded `net_t{level}_rec{passes}` ({name[:-4]}), relative"
            yield at_most(what, error, 1e-4)


def _one_step(step: PublishedStep) -> Row:
    arrays = recorded("cmr2d.npz")
    settings = published_recovery(2)
    settings = RecoverySettings(**{**vars(settings), "steps": (79,)})
    start = torch.from_numpy(arrays["recover_init_ddf"]) * 256
    ours = recover(step, torch.from_numpy(arrays["image"]), start, LEVEL, settings).ddf
    theirs = torch.from_numpy(arrays["recover_ddf_after_t79"]) * 256
    error = float((ours - theirs).abs().max())
    return at_most("one recovery step vs `recover_ddf_after_t79`, max", error, 0.01, " voxel")


def _whole_recoveries(step: PublishedStep) -> Iterator[Row]:
    arrays = recorded("cmr2d.npz")
    image = torch.from_numpy(arrays["image"])
    start = torch.from_numpy(arrays["recover_init_ddf"]) * 256
    final = torch.from_numpy(arrays["recover_final_ddf"]) * 256
    theirs = _numbers(image, start, final, torch.from_numpy(arrays["recover_final_image"]))
    batch = image.expand(len(SEEDS), -1, -1, -1)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    fields = deform(batch, LEVEL, generators, published_field(256)).ddf
    result = recover(step, image, fields, LEVEL, published_recovery(2))
    ours = [
        _numbers(image, fields[i : i + 1], result.ddf[i : i + 1], result.image[i : i + 1])
        for i in range(len(SEEDS))
    ]
    for name, wanted in PUBLISHED.items():
        values = [each[name] for each in ours]
        what = (
            f"whole recovery, t={LEVEL}, 160 passes, {name}: mean of {len(SEEDS)} seeds "
            f"({', '.join(f'{v:.3f}' for v in values)}; recorded run {theirs[name]:.3f})"
        )
        yield near(what, float(np.mean(values)), wanted, TOLERANCE[name])
    corners = float(folding_percent(result.ddf).mean())
    yield Row("  the same, folded at any corner, %", f"{corners:.3f}", "none", None)


def _numbers(image: Tensor, start: Tensor, ddf: Tensor, moved: Tensor) -> dict[str, float]:
    both = np.stack([image.numpy().ravel(), moved.numpy().ravel()])
    folded = (jacobian_determinant(ddf) <= 0).double().mean()
    return {
        "residual": float(ddf.norm() / start.norm()),
        "NCC": float(np.corrcoef(both)[0, 1]),
        "folded %": 100 * float(folded),
    }
