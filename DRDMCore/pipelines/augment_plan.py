"""Which samples an augmentation makes: cases, slices, repeats, levels, seeds and file names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from DRDMCore.checks import require_choice
from DRDMCore.errors import DRDMError, InputError
from DRDMCore.imaging import Case, Volume, list_cases, read_image, read_labels
from DRDMCore.models import RANDOM_FIELD, Model, load_model, random_field_model
from DRDMCore.pipelines.generate import IMAGE_FORMATS, check_device, open_model
from DRDMCore.pipelines.manifest import describe_model
from DRDMCore.pipelines.published_config import LevelSchedule
from DRDMCore.pipelines.records import Failure, Unit
from DRDMCore.pipelines.sampling import see
from DRDMCore.pipelines.settings import SamplingSettings, resolved

LAYOUTS = ("pairs", "published")
FIELD_FORMATS = (".nrrd", ".nii.gz", ".mha")
"""No `.h5`: two files of the same field differ there, and a job could not tell if it is done."""

ORIGINAL, SAMPLE = "original", "sample"

Slice = tuple[int, int] | None
"""Array axis across the slices and number of the slice; `None` for the whole image."""


@dataclass(frozen=True)
class AugmentJob:
    """Deformed versions of every image of a folder.

    Attributes:
        images: Folder of images (or one file).
        out: Folder for the results, records, manifest and list of failures.
        labels: Folder of labels, if any.
        model: Name, path, or a model; `none` for the random field alone.
        count: Versions per image; it may be raised later, the first ones stay as they are.
        level: One level; the lowest and highest, between which every sample draws its own; a
            schedule over the repeats; or `None` for `sampling.level` or the model's own.
        seed: Every sample's seed is derived from it, the case, the slice and the repeat.
        patients: Patient numbers to augment (`Case.patient`, else the number of the case from 1);
            empty means all.
        slices: Running numbers of the slices to augment, `published` layout only; empty means all.
        sampling: How samples are made.
        device: `cpu`, `cuda`, ...; under `torchrun` `cuda` is `cuda:LOCAL_RANK`.
        image_format: One of `generate.IMAGE_FORMATS`.
        field_format: One of `FIELD_FORMATS`; `.nrrd` keeps every bit of the geometry, and ITK reads
            the field of a single slice back from it, which it does not from NIfTI.
        layout: `pairs`: `img/CASE_aug0001`, and labels and field of the same name in `msk` and
            `ddf`, a stack being one subject. `published`: the names of the published program, a
            slice being a subject of its own for a 2D model, with originals and un-recovered
            versions.
        folders: Where images, labels and fields go; `img`, `msk` and `ddf` in `out` by default.
        random_flips: Mirror each sample along random array axes, field and labels with it. This
            swaps left and right of the patient.
        random_permutations: Refused: see `checked`.
        dry_run: Only say what would be done.
        notes: What the user should know before it starts.
    """

    images: Path
    out: Path
    labels: Path | None = None
    model: str | Model = RANDOM_FIELD
    count: int = 4
    level: int | tuple[int, int] | LevelSchedule | None = None
    seed: int = 0
    patients: tuple[int, ...] = ()
    slices: tuple[int, ...] = ()
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    device: str = "cpu"
    image_format: str = ".nii.gz"
    field_format: str = ".nrrd"
    layout: str = "pairs"
    folders: tuple[Path, Path, Path] | None = None
    random_flips: bool = False
    random_permutations: bool = False
    dry_run: bool = False
    notes: tuple[str, ...] = ()


def checked(job: AugmentJob) -> AugmentJob:
    """The job, if its arguments make sense.

    Raises:
        InputError: If one does not.
    """
    if job.random_permutations:
        raise InputError(
            "`random_permutations` must be off: exchanged axes would no longer fit the geometry "
            "of the image; use `random_flips`, which keeps it."
        )
    check_numbers(job.count, job.seed)
    for name, value, choices in (
        ("layout", job.layout, LAYOUTS),
        ("image_format", job.image_format, IMAGE_FORMATS),
        ("field_format", job.field_format, FIELD_FORMATS),
    ):
        check_choice(name, value, choices)
    if job.slices and job.layout != "published":
        raise InputError("`slices` must be empty for the layout pairs: use the layout published.")
    if job.level is not None and job.sampling.level is not None:
        raise InputError("`level` must be given once, got it in `sampling` too: leave one out.")
    if job.sampling.mean_mm is not None and job.level is not None:
        raise InputError("`level` must be left out where `mean_mm` is given: they exclude another.")
    if len({path.absolute() for path in folders_of(job)}) < 3:
        raise InputError("The folders of images, labels and fields must be three different ones.")
    require_apart(folders_of(job), job.images, job.labels)
    return job


def require_apart(written: Sequence[Path], images: Path, labels: Path | None) -> None:
    """Raise `InputError` if results would go among the images or labels that they are made from."""
    read = {path.resolve() for path in (images, labels) if path is not None}
    for path in written:
        if path.resolve() in read:
            raise InputError(
                f"{path} must not be both read from and written to: choose another folder for "
                "the results."
            )


def check_numbers(count: int, seed: int) -> None:
    """Raise `InputError` for a count or seed out of range."""
    if count < 1:
        raise InputError(f"`count` must be at least 1, got {count}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"`seed` must lie in 0 .. 2**63 - 1, got {seed}.")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise `InputError` listing the choices unless `value` is one of them."""
    try:
        require_choice(name, value, choices)
    except ValueError as error:
        raise InputError(str(error)) from None


def folders_of(job: AugmentJob) -> tuple[Path, Path, Path]:
    """Folders of images, labels and fields."""
    return job.folders or (job.out / "img", job.out / "msk", job.out / "ddf")


def shared_model(model: str | Model, device: str) -> Model | None:
    """The model of all cases, on its device; `None` for the random field, which each image suits.

    Raises:
        DRDMError: If there is no such model or device.
    """
    check_device(device)
    if isinstance(model, Model):
        return model.to(device)
    return None if model == RANDOM_FIELD else load_model(model, device=device)


def model_for(image: Volume, model: Model | None, settings: SamplingSettings, device: str) -> Model:
    """The shared model, or the random field that suits the image."""
    return model or open_model(RANDOM_FIELD, image, settings, device)


def identity_of(job: AugmentJob, model: Model | None) -> dict[str, Any]:
    """Everything that the samples depend on, but for the input and the number of the sample."""
    level = asdict(job.level) if is_dataclass(job.level) else job.level
    return {
        "command": "augment",
        "model": named_model(model),
        "sampling": asdict(job.sampling),
        "level": level,
        "seed": job.seed,
        "layout": job.layout,
        "image_format": job.image_format,
        "field_format": job.field_format,
        "random_flips": job.random_flips,
    }


def named_model(model: Model | None) -> dict[str, Any]:
    """What identifies a model wherever its file lies."""
    if model is None:
        return {"name": RANDOM_FIELD}
    return {key: value for key, value in describe_model(model).items() if key != "path"}


def derived_seed(seed: int, *parts: object) -> int:
    """A seed of its own, 0 .. 2**63 - 1, for everything that the parts tell apart."""
    text = "\0".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def chosen_cases(
    images: Path, labels: Path | None, patients: Sequence[int]
) -> list[tuple[int, Case, bool]]:
    """Patient number and case of every image, and whether it is among `patients` (empty: all).

    Raises:
        InputError: If a patient is not there.
    """
    cases = list_cases(images, labels)
    numbered = [
        (case.patient if case.patient is not None else number, case)
        for number, case in enumerate(cases, start=1)
    ]
    missing = sorted(set(patients) - {patient for patient, _ in numbered})
    if missing:
        raise InputError(
            f"`patients` must be numbers of patients in {images}, got {missing}: leave them out."
        )
    return [(patient, case, not patients or patient in patients) for patient, case in numbered]


def planned(job: AugmentJob, model: Model | None) -> tuple[list[Unit], list[Failure]]:
    """All units of the job, those of a case side by side, and the cases that cannot be planned."""
    level_of = _level_rule(job, model)
    cases = chosen_cases(job.images, job.labels, job.patients)
    if job.layout == "pairs":
        units = [
            _pair(job, case, repeat, level_of)
            for _, case, chosen in cases
            if chosen
            for repeat in range(job.count)
        ]
        return units, []
    return _published(job, model, cases, level_of)


def _published(
    job: AugmentJob,
    model: Model | None,
    cases: Sequence[tuple[int, Case, bool]],
    level_of: Callable[[Case, int, int], int],
) -> tuple[list[Unit], list[Failure]]:
    """Units in the published layout; slices are counted over all cases, chosen or not."""
    units: list[Unit] = []
    failed: list[Failure] = []
    running = 0
    for patient, case, chosen in cases:
        try:
            slices = _slices(job, model, case, read_image(case.image))
        except (DRDMError, OSError) as error:
            if chosen:
                failed.append(Failure(case.name, str(error)))
            running += _slices_by_labels(job, model, case)
            continue
        numbers = range(running, running + len(slices))
        for number, one in zip(numbers, slices, strict=True):
            if chosen and (not job.slices or number in job.slices):
                units += _published_slice(job, patient, case, number, one, level_of)
        running += len(slices)
    beyond = [number for number in job.slices if not 0 <= number < running]
    if beyond:
        raise InputError(f"`slices` must lie in 0 .. {running - 1}, got {beyond}: leave them out.")
    return units, failed


def _slices(job: AugmentJob, model: Model | None, case: Case, image: Volume) -> list[Slice]:
    """The subjects of a case: its slices for a 2D model and a stack, else the whole image."""
    suited = model_for(image, model, job.sampling, job.device)
    if suited.grid.dimension == image.dimension:
        return [None]
    axis = see(suited, image, None, job.sampling).view.slice_axis
    assert axis is not None
    return [(axis, index) for index in range(image.geometry.shape[axis])]


def _slices_by_labels(job: AugmentJob, model: Model | None, case: Case) -> int:
    """How many slices an unreadable image would have had, so that the next keep their numbers."""
    try:
        labels = read_labels(case.labels) if case.labels else None
        if labels is None:
            return 0
        return len(_slices(job, model, case, replace(labels, kind="image")))
    except (DRDMError, OSError):
        return 0


def _level_rule(job: AugmentJob, model: Model | None) -> Callable[[Case, int, int], int]:
    """The level of a case, slice and repeat."""
    reference = model or random_field_model(2)
    if isinstance(job.level, LevelSchedule):
        schedule = job.level
        return lambda case, index, repeat: schedule.level(repeat)
    ends = job.level if isinstance(job.level, tuple) else (job.level, job.level)
    low, high = (resolved_level(job.sampling, reference, end) for end in ends)
    if low > high:
        raise InputError(f"`level` must be the lowest and the highest level, got {low} and {high}.")
    return lambda case, index, repeat: (
        low + derived_seed(job.seed, case.name, index, repeat, "level") % (high - low + 1)
    )


def resolved_level(settings: SamplingSettings, model: Model, level: int | None) -> int:
    """A level that the model has; its own if `None` is asked for."""
    wanted = settings if level is None else replace(settings, level=level)
    found = resolved(wanted, model).level
    assert found is not None
    return found


def _facts(
    job: AugmentJob,
    patient: int | None,
    case: Case,
    one: Slice,
    repeat: int,
    level_of: Callable[[Case, int, int], int],
) -> dict[str, Any]:
    """What tells a sample from the others of its case."""
    index = 0 if one is None else one[1]
    return {
        "kind": SAMPLE,
        "patient": patient,
        "slice": None if one is None else list(one),
        "repeat": repeat,
        "level": level_of(case, index, repeat),
        "first_seed": derived_seed(job.seed, case.name, index, repeat),
    }


def _pair(
    job: AugmentJob,
    case: Case,
    repeat: int,
    level_of: Callable[[Case, int, int], int],
) -> Unit:
    """A sample in the layout `pairs`: the same stem in three folders."""
    name = f"{case.name}_aug{repeat + 1:04d}"
    images, masks, fields = folders_of(job)
    files = {"image": images / f"{name}{job.image_format}"}
    if case.labels is not None:
        files["labels"] = masks / f"{name}{job.image_format}"
    files["field"] = fields / f"{name}{job.field_format}"
    return Unit(name, case, files, _facts(job, case.patient, case, None, repeat, level_of))


def _published_slice(
    job: AugmentJob,
    patient: int,
    case: Case,
    number: int,
    one: Slice,
    level_of: Callable[[Case, int, int], int],
) -> Iterator[Unit]:
    """Original and samples of one slice (or volume) under the published names."""
    stem = f"Patient{patient:04d}_Slice{number:06d}"
    original = f"{stem}_ORG_NA"
    facts = {"kind": ORIGINAL, "patient": patient, "slice": None if one is None else list(one)}
    yield Unit(original, case, _published_files(job, case, "", original), facts)
    for repeat in range(job.count):
        facts = _facts(job, patient, case, one, repeat, level_of)
        ending = f"{repeat:04d}_NoiseStep{facts['level']:04d}"
        name, noise = f"{stem}_AugImg{ending}", f"{stem}_NoiseImg{ending}"
        fields = folders_of(job)[2]
        files = {
            **_published_files(job, case, "", name),
            "field": fields / f"{name}{job.field_format}",
            **_published_files(job, case, "noise_", noise),
            "noise_field": fields / f"{noise}{job.field_format}",
        }
        yield Unit(name, case, files, facts)


def _published_files(job: AugmentJob, case: Case, prefix: str, name: str) -> dict[str, Path]:
    """Image and, where there are labels, mask under a published name."""
    images, masks, _ = folders_of(job)
    files = {f"{prefix}image": images / f"{name}{job.image_format}"}
    if case.labels is not None:
        files[f"{prefix}labels"] = masks / f"{name}_GT{job.image_format}"
    return files
