"""`drdm synthesize`: pairs of images with the field between them (Algorithm 4).

The moving image is a deformed image; the fixed image is the moving one pulled through a field that
was drawn from it. A registration method that gets the pair can be judged, or trained, by the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Case,
    Volume,
    read_field,
    read_image,
    read_labels,
    write_field,
    write_volume,
)
from DRDMCore.models import RANDOM_FIELD, Model, random_field_model
from DRDMCore.pipelines.augment import one_sample, read_case
from DRDMCore.pipelines.augment_plan import (
    check_choice,
    check_numbers,
    chosen_cases,
    derived_seed,
    model_for,
    named_model,
    require_apart,
    resolved_level,
    shared_model,
)
from DRDMCore.pipelines.folder_job import FolderJob, Make, OnStep, Open, plan, run_folder_job
from DRDMCore.pipelines.generate import IMAGE_FORMATS
from DRDMCore.pipelines.memory import bytes_needed, require_memory
from DRDMCore.pipelines.model_fields import voxels_seen
from DRDMCore.pipelines.moving import pulled
from DRDMCore.pipelines.records import Unit
from DRDMCore.pipelines.sampling import Sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.progress import Callback
from DRDMCore.sharding import local_device, share_of


@dataclass(frozen=True)
class SynthesizeJob:
    """Registration pairs of every image of a folder.

    Attributes:
        images: Folder of images, or one image.
        out: Folder for the results, records, manifest and list of failures.
        labels: Folder of labels or one label file, if any.
        model: Name, path, or a model; `none` for the random field alone.
        levels: Pairs of levels: of the field that makes the moving image, and of the field from
            the moving to the fixed image; the model's own level for both by default.
        count: Pairs of images per pair of levels; it may be raised later.
        seed: Both seeds of every pair are derived from it, the case and the number of the pair.
        patients: Patient numbers (`Case.patient`, else the number of the case from 1); empty
            means all.
        sampling: How both fields are made and images are pulled; without a level.
        device: `cpu`, `cuda`, ...; under `torchrun` `cuda` is `cuda:LOCAL_RANK`.
        image_format: One of `generate.IMAGE_FORMATS`. Fields are `.nrrd`, which keeps every bit.
        dry_run: Only say what would be done.
    """

    images: Path
    out: Path
    labels: Path | None = None
    model: str | Model = RANDOM_FIELD
    levels: tuple[tuple[int, int], ...] = ()
    count: int = 1
    seed: int = 0
    patients: tuple[int, ...] = ()
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    device: str = "cpu"
    image_format: str = ".nii.gz"
    dry_run: bool = False


def synthesize(job: SynthesizeJob, progress: Callback | None = None) -> dict[str, Any]:
    """Make pairs of images (and labels) with the field that takes the moving to the fixed one.

    `CASE_pair0001_field.nrrd` applied to `CASE_pair0001_moving` gives `CASE_pair0001_fixed` again,
    bit for bit, and so for the labels. The image was interpolated once more than in `augment`: the
    moving image is the truth here, wherever it came from. Resumable and shared out as `augment`.

    Args:
        job: What to make.
        progress: As for `augment`.

    Returns:
        What was done (`folder_job.run_folder_job`), or for a dry run what would be
        (`folder_job.plan`).

    Raises:
        DRDMError: As for `augment`.
    """
    check_numbers(job.count, job.seed)
    check_choice("image_format", job.image_format, IMAGE_FORMATS)
    if job.sampling.level is not None:
        raise InputError("`sampling` must have no level: give `levels`, one or more pairs of them.")
    require_apart([job.out], job.images, job.labels)
    device = local_device(job.device)
    model = shared_model(job.model, device)
    folder_job = FolderJob(
        "synthesize", job.out, _identity(job, model), _units(job, model), share=share_of()
    )
    if job.dry_run:
        return plan(folder_job)
    return run_folder_job(folder_job, _opener(job, model, device), progress)


def _identity(job: SynthesizeJob, model: Model | None) -> dict[str, Any]:
    """Everything that the pairs depend on, but for the input and the number of the pair."""
    return {
        "command": "synthesize",
        "model": named_model(model),
        "sampling": asdict(job.sampling),
        "levels": [list(pair) for pair in job.levels],
        "seed": job.seed,
        "image_format": job.image_format,
    }


def _units(job: SynthesizeJob, model: Model | None) -> list[Unit]:
    """All pairs; the levels take turns, so that a higher count only adds some."""
    reference = model or random_field_model(2)
    wanted = job.levels or ((None, None),)
    levels = [[resolved_level(job.sampling, reference, level) for level in pair] for pair in wanted]
    return [
        _unit(job, case, number, levels[number % len(levels)])
        for _, case, chosen in chosen_cases(job.images, job.labels, job.patients)
        if chosen
        for number in range(job.count * len(levels))
    ]


def _unit(job: SynthesizeJob, case: Case, number: int, levels: list[int]) -> Unit:
    """One pair of a case."""
    name = f"{case.name}_pair{number + 1:04d}"
    kinds = ["moving", "fixed"]
    if case.labels is not None:
        kinds += ["moving_labels", "fixed_labels"]
    files = {kind: job.out / f"{name}_{kind}{job.image_format}" for kind in kinds}
    files["field"] = job.out / f"{name}_field.nrrd"
    facts = {
        "kind": "pair",
        "patient": case.patient,
        "level_aug": levels[0],
        "level_syn": levels[1],
        "first_seed_aug": derived_seed(job.seed, case.name, number, "aug"),
        "first_seed_syn": derived_seed(job.seed, case.name, number, "syn"),
    }
    return Unit(name, case, files, facts)


def _opener(job: SynthesizeJob, model: Model | None, device: str) -> Open:
    """Reads the cases of a job."""

    def open_case(case: Case) -> Make:
        image, labels = read_case(case)
        suited = model_for(image, model, job.sampling, device)

        def make(unit: Unit, on_step: OnStep) -> Mapping[str, Any]:
            return _make_pair(job, suited, image, labels, unit, on_step)

        return make

    return open_case


def _make_pair(
    job: SynthesizeJob,
    model: Model,
    image: Volume,
    labels: Volume | None,
    unit: Unit,
    on_step: OnStep,
) -> dict[str, Any]:
    """Make the moving image, then the fixed one from the moving one's file; write all."""
    aug, rejected_aug = _drawn(job, model, image, labels, unit, "aug", on_step)
    write_volume(aug.image, unit.files["moving"])
    if aug.labels is not None:
        write_volume(aug.labels, unit.files["moving_labels"])
    # From the file: a format may round the geometry, and the pair must fit to the last bit.
    moving = read_image(unit.files["moving"])
    moving_labels = None if labels is None else read_labels(unit.files["moving_labels"])
    syn, rejected_syn = _drawn(job, model, moving, moving_labels, unit, "syn", on_step)
    write_field(syn.field, unit.files["field"])
    written = read_field(unit.files["field"])
    write_volume(pulled(moving, written, job.sampling), unit.files["fixed"])
    if moving_labels is not None:
        write_volume(pulled(moving_labels, written, job.sampling), unit.files["fixed_labels"])
    return {
        "seed_aug": aug.seed,
        "seed_syn": syn.seed,
        "rejected_aug": rejected_aug,
        "rejected_syn": rejected_syn,
        "quality_aug": aug.quality,
        "quality": syn.quality,
    }


def _drawn(
    job: SynthesizeJob,
    model: Model,
    image: Volume,
    labels: Volume | None,
    unit: Unit,
    which: str,
    on_step: OnStep,
) -> tuple[Sample, list[dict[str, Any]]]:
    """An acceptable sample of an image, and the seeds rejected before it."""
    settings = resolved(replace(job.sampling, level=unit.facts[f"level_{which}"]), model)
    subject = see(model, image, labels, settings)
    voxels = voxels_seen(subject.view, settings)
    require_memory(bytes_needed(image, model, voxels), image.title)
    return one_sample(model, subject, unit.facts[f"first_seed_{which}"], settings, on_step)
