"""Train as a configuration of the published program says, and leave weights where it does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from DRDMCore.atomic import written_whole
from DRDMCore.errors import InputError, OutputError
from DRDMCore.fields import published_field
from DRDMCore.imaging import GridPolicy
from DRDMCore.models import PublishedConfig, weights_of
from DRDMCore.training.settings import InputAugmentation, TrainingSettings

_NEEDED = ("epoch", "epoch_per_save", "lr", "noise_scale")
_MULTIPLE = 8
_NOT_USED = (
    "img_pad_mode, padding_mode, resample_mode, patients_list, model_id_str, start_noise_step, "
    "noise_step, aug_coe, aug_img_savepath, aug_msk_savepath, aug_ddf_savepath: settings of an "
    "augmentation, not used by a training."
)


def published_settings(config: PublishedConfig, root: Path | str = ".") -> TrainingSettings:
    """The published objective on `Data/Src_data/NAME` under the root.

    Args:
        config: See `models.published_config.read_config`.
        root: The folder above `Data` and `models`.

    Raises:
        InputError: If a key that a training needs is missing or cannot be used.
    """
    missing = [key for key in _NEEDED if key not in config.training]
    if missing:
        raise InputError(f"the configuration lacks {', '.join(missing)}: add them to train.")
    side, noise = config.img_size, float(config.training["noise_scale"])
    if side % _MULTIPLE:
        raise InputError(f"`img_size` must be a multiple of {_MULTIPLE} to train, got {side}.")
    if not noise <= 0.5:
        raise InputError(f"`noise_scale` must be at most 0.5, got {noise:g}: images are 0 .. 1.")
    return TrainingSettings(
        name=f"{config.data_name}_{config.net_name}",
        data=str(Path(root) / "Data" / "Src_data" / config.data_name),
        grid=GridPolicy(
            dimension=config.ndims, mode="fov", side=side, intensity_range=(0.0, 100.0)
        ),
        shape=(side,) * config.ndims,
        objective="published",
        field=replace(published_field(side, v_scale=config.v_scale), padding=config.ddf_pad_mode),
        levels=config.timesteps,
        epochs=int(config.training["epoch"]),
        batch=config.batchsize,
        optimizer="adamw",
        learning_rate=float(config.training["lr"]),
        warmup=0.0,
        decay="constant",
        weight_decay=0.0,
        augmentation=_augmentation(config.ndims, noise),
    )


def describe_published(config: PublishedConfig) -> list[str]:
    """One sentence for each thing that works otherwise than a reader of the file may think."""
    settings = TrainingSettings
    notes = [
        _NOT_USED,
        f"img_size {config.img_size}: the longest side gets so many voxels, and the rest of the "
        "square or cube repeats the border; nothing is squashed.",
        f"epoch: {settings.validation_share:.0%} of the patients are held out to validate on "
        "(--set validation_share=...); what learns is the average of the weights that is saved.",
        "the folding loss is that of I + grad u: the published one punishes nothing.",
    ]
    pose = "rotation and crop" if config.ndims == 3 else "rotation, shift and flip"
    notes.append(f"{pose} come together, in 80 % of the images.")
    return notes


def run_folder(config: PublishedConfig, root: Path | str) -> Path:
    """The folder of the weights, which is that of the run too: `models/NAME_NET`."""
    return weights_of(config, root).parent


@dataclass(frozen=True)
class PublishedWeights:
    """Leaves the averaged weights as the published program does; give it to `train` as `on_step`.

    Epochs count from 0; the weights of each `epoch_per_save`-th and of the last one are kept.

    Attributes:
        config: The configuration.
        root: The folder above `models`.
    """

    config: PublishedConfig
    root: Path

    def require_free(self, *, going_on: bool) -> None:
        """Refuse to write over weights that the run did not make.

        Args:
            going_on: Whether the weights that are there may be the run's own.

        Raises:
            OutputError: If there are weights.
        """
        folder = run_folder(self.config, self.root)
        there = [] if going_on else sorted(folder.glob(f"*_{folder.name}.pth"))
        if there:
            raise OutputError(
                f"{folder} must be free of weights for a new training, which would write over "
                f"them, but holds {there[0].name}: move them away, or choose another `data_name`."
            )

    def file(self, epoch: int) -> Path:
        """The weights of an epoch, counted from 0."""
        return weights_of(replace(self.config, model_id_str=f"{epoch:06d}"), self.root)

    def __call__(self, step: int, epoch_steps: int, steps: int, network: nn.Module) -> None:
        """Write the weights, if an epoch that is to be kept ends with this step.

        Args:
            step: Steps done.
            epoch_steps: Steps of an epoch.
            steps: Steps of the run.
            network: With the averaged weights.

        Raises:
            OutputError: If they cannot be written.
        """
        epoch = (step - 1) // epoch_steps
        whole = step % epoch_steps == 0 and epoch % self.config.training["epoch_per_save"] == 0
        if whole or step == steps:
            _write(network, self.file(epoch))


def _write(network: nn.Module, path: Path) -> None:
    """Write a state dictionary, whole or not at all."""
    state = {name: each.detach().cpu() for name, each in network.state_dict().items()}
    with written_whole(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's writer tells a full disk so
            raise OSError(str(error).splitlines()[0]) from error


def _augmentation(dimension: int, noise: float) -> InputAugmentation:
    """Changes of pose and grey values of the published program."""
    grey: dict[str, Any] = {
        "gain": noise,
        "offset": noise,
        "floor": 2 * noise,
        "gamma": 0.0,
        "noise": 0.0,
    }
    pose: dict[str, Any] = {"share": 0.8, "rotation_deg": 180.0, "scaling": 0.0}
    if dimension == 3:
        return InputAugmentation(**pose, **grey, shift=0.0, crop=0.6)
    return InputAugmentation(**pose, **grey, shift=0.125, flips=(0,), autocontrast=0.5)
