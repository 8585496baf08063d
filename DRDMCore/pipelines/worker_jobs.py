"""The jobs of the worker: plain arguments in, plain results out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import jacobian_determinant
from DRDMCore.imaging import (
    Volume,
    ddf_from_field,
    phantom,
    read_field,
    read_image,
    read_labels,
    require_same_geometry,
    write_field,
    write_volume,
)
from DRDMCore.models import (
    Model,
    configured_model,
    import_published,
    load_model,
    read_config,
    save_model,
)
from DRDMCore.pipelines.amplitude import on_grid_of, scaled
from DRDMCore.pipelines.devices import automatic_device, devices, image_of_size, needs
from DRDMCore.pipelines.export import ExportJob, export
from DRDMCore.pipelines.export_samples import sample_from
from DRDMCore.pipelines.generate import GenerateJob, check_device, generate, open_model
from DRDMCore.pipelines.manifest import NAME, versions
from DRDMCore.pipelines.moving import moved
from DRDMCore.pipelines.settings import SamplingSettings, settings_of
from DRDMCore.pipelines.warm_models import WarmModels
from DRDMCore.pipelines.worker_arguments import checked
from DRDMCore.progress import Callback, Event, pulse_of, tell
from DRDMCore.recovery import PublishedStep

EFFORTS = ("fast", "full")
_FAST_LEVELS, _FULL_PASSES = 16, 32

Arguments = Mapping[str, Any]
Result = dict[str, Any]


class Jobs:
    """The jobs by name, and the models that they keep loaded."""

    def __init__(self) -> None:
        """Begin with no model."""
        self._models = WarmModels()
        self._jobs: dict[str, tuple[Callable[[Arguments, Callback], Result], dict[str, str]]] = {
            "generate": (
                self._generate,
                {"image": "text", "labels?": "text", "out": "text", "model": "text"}
                | {"count": "whole number", "seed?": "whole number", "device": "text"}
                | {"sampling?": "object", "effort?": "text", "fields_only?": "yes or no"},
            ),
            "scale": (
                _scale,
                {"field": "text", "amplitude": "number", "image": "text"}
                | {"labels?": "text", "out": "text"},
            ),
            "jacobian": (_jacobian, {"field": "text", "out": "text"}),
            "export": (
                _export,
                {"image": "text", "labels?": "text", "samples": "list", "out": "text"}
                | {"layout": "text", "image_format?": "text", "field_format?": "text"}
                | {"originals?": "yes or no", "dataset_name?": "text", "case?": "text"},
            ),
            "needs": (
                self._needs,
                {"size": "list", "spacing_mm": "list", "model": "text", "device": "text"},
            ),
            "status": (_status, {}),
            "check_model": (_check_model, {"path": "text"}),
            "import_weights": (
                _import_weights,
                {"weights": "text", "config?": "text", "out": "text"},
            ),
            "phantom": (_phantom, {"kind": "text", "out": "text", "seed?": "whole number"}),
        }

    def run(self, name: str, arguments: Arguments, progress: Callback) -> Result:
        """Do one job.

        Raises:
            InputError: If there is no such job, or its arguments cannot be used.
            DRDMError: As the job itself.
        """
        if name not in self._jobs:
            raise InputError(f"`job` must be one of {', '.join(self._jobs)}, got {name!r}.")
        job, wanted = self._jobs[name]
        return job(checked(name, arguments, wanted), progress)

    def _generate(self, arguments: Arguments, progress: Callback) -> Result:
        """Samples of one image; the model stays loaded."""
        given = dict(arguments)
        effort = given.pop("effort", None)
        device = check_device(automatic_device(given["device"]))
        model = self._models.get(given["model"], device, progress)
        sampling = settings_of(given.pop("sampling", {}))
        given |= _paths(given)
        named: Arguments = {"model": model, "device": device, "report": False}
        job = GenerateJob(**{**given, **named, "sampling": with_effort(sampling, model, effort)})
        return {"manifest": generate(job, progress)}

    def _needs(self, arguments: Arguments, progress: Callback) -> Result:
        """Memory for one sample of an image of some size."""
        device = check_device(automatic_device(arguments["device"]))
        image = image_of_size(arguments["size"], arguments["spacing_mm"])
        named = self._models.get(arguments["model"], device, progress)
        return needs(image, open_model(named, image, SamplingSettings(), device), device)


def with_effort(
    sampling: SamplingSettings, model: str | Model, effort: str | None
) -> SamplingSettings:
    """The settings with the passes that an effort means, unless they name a number themselves.

    Args:
        sampling: Settings as given.
        model: A model; the random field has no passes.
        effort: `fast`: what the model recommends, or 16 levels of the published network; `full`:
            32 passes, or all its levels; `None`: what the model recommends.

    Raises:
        InputError: If there is no such effort.
    """
    if effort not in (None, *EFFORTS):
        raise InputError(f"`effort` must be one of {', '.join(EFFORTS)}, got {effort!r}.")
    if sampling.steps is not None or effort is None or not isinstance(model, Model):
        return sampling
    if isinstance(model.step, PublishedStep):
        return replace(sampling, steps=_FAST_LEVELS if effort == "fast" else model.levels)
    return sampling if effort == "fast" else replace(sampling, steps=_FULL_PASSES)


def _scale(arguments: Arguments, progress: Callback) -> Result:
    """A field at another amplitude, in a file, measured."""
    image, labels = _subject(arguments)
    out, amplitude = Path(arguments["out"]), float(arguments["amplitude"])
    field = on_grid_of(image, read_field(arguments["field"]), arguments["field"])
    pulse = pulse_of(progress)
    field, changed = scaled(field, amplitude, pulse)
    tell(progress, Event("step", "the field is scaled", 1, 2))
    settings = SamplingSettings()
    quality = moved(image, labels, field, settings, repaired=changed, pulse=pulse).quality
    write_field(field, out, compress=False)
    return {"field": out, "quality": quality, "amplitude": amplitude}


def _jacobian(arguments: Arguments, progress: Callback) -> Result:
    """The determinant of the Jacobian of a field, as an image."""
    field = read_field(arguments["field"])
    det = jacobian_determinant(torch.from_numpy(ddf_from_field(field))[None])[0].numpy()
    out = Path(arguments["out"])
    write_volume(Volume(det, field.geometry), out, compress=False)
    return {"volume": out, "minimum": float(det.min()), "maximum": float(det.max())}


def _export(arguments: Arguments, progress: Callback) -> Result:
    """Samples of the scene as a data set."""
    given = dict(arguments)
    samples = tuple(
        sample_from(each, number) for number, each in enumerate(given.pop("samples"), 1)
    )
    given |= _paths(given)
    job = ExportJob(**{**given, "samples": samples})
    return {"manifest": export(job, progress), "folder": job.out, "file": job.out / NAME}


def _status(arguments: Arguments, progress: Callback) -> Result:
    """Versions and devices."""
    return {"versions": versions(), "devices": devices()}


def _check_model(arguments: Arguments, progress: Callback) -> Result:
    """The card of a model file that can be used, weights and all."""
    return _described(load_model(Path(arguments["path"])))


def _import_weights(arguments: Arguments, progress: Callback) -> Result:
    """A model file made of a published checkpoint."""
    weights, out = Path(arguments["weights"]), Path(arguments["out"])
    path = out if out.suffix == ".safetensors" else out / f"{weights.stem}.safetensors"
    if "config" in arguments:
        model = configured_model(read_config(arguments["config"]), weights)
        model = replace(model, card=replace(model.card, name=path.stem))
    else:
        model = import_published(weights, name=path.stem)
    return _described(load_model(save_model(model, path)))


def _phantom(arguments: Arguments, progress: Callback) -> Result:
    """A made-up subject."""
    try:
        image, labels = phantom(arguments["kind"], arguments.get("seed", 0))
    except ValueError as error:
        raise InputError(str(error)) from error
    out = Path(arguments["out"])
    paths = {"image": out / "image.nrrd", "labels": out / "labels.seg.nrrd"}
    write_volume(image, paths["image"], compress=False)
    write_volume(labels, paths["labels"], compress=False)
    return {**paths}


def _paths(arguments: Arguments) -> dict[str, Path]:
    """The files and folders of a job."""
    return {key: Path(arguments[key]) for key in ("image", "labels", "out") if key in arguments}


def _described(model: Model) -> Result:
    """What a program shows of a model."""
    return {
        "path": model.path,
        "card": asdict(model.card),
        "grid": model.grid.to_dict(),
        "architecture": dict(model.architecture),
        "sha256": model.sha256,
    }


def _subject(arguments: Arguments) -> tuple[Volume, Volume | None]:
    """Image and labels, on the same grid."""
    image = read_image(arguments["image"])
    labels = read_labels(arguments["labels"]) if "labels" in arguments else None
    if labels is not None:
        require_same_geometry(image, labels)
    return image, labels
