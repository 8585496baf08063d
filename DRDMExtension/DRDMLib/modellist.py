"""The models that there are, as a user wants to know them, from the headers of their files.

Nothing here loads a model; that is the worker's, which also has the last word on a file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from DRDMLib.corepath import addCoreToPath

RANDOM_FIELD = "none"
"""The name of the entry without a model."""
_SUFFIX = ".safetensors"
_MADE_UP = "phantom"
_MORE, _LESS = 2.0, 0.5
"""Times the field of view of the training images that a volume may have."""
_COARSE = 3.0
"""Times the voxels of the model that those of a volume may have."""


class ModelProblem(ValueError):
    """A model file cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class ModelEntry:
    """A model in the selector.

    Attributes:
        name: What the worker calls it: a name, or the path of a file outside the model folders.
        title: One line.
        modality: `MR`, `CT`, `phantom` or `any`.
        anatomy: What it knows.
        dimension: 2 or 3; `None` for any.
        data: What it was trained on.
        licence: Licence of the weights.
        recommended: Settings to start from, such as `level`.
        notes: Limits, warnings.
        path: The file, or `None`.
        problem: Why it cannot be used, one sentence; empty where it can.
        grid: How images come to its grid (`GridPolicy`).
        shape: Voxels of its training images, array order; empty where not known.
    """

    name: str
    title: str
    modality: str = "any"
    anatomy: str = "any"
    dimension: int | None = None
    data: str = ""
    licence: str = ""
    recommended: dict = field(default_factory=dict)
    notes: str = ""
    path: Path | None = None
    problem: str = ""
    grid: dict = field(default_factory=dict)
    shape: tuple = ()

    @property
    def usable(self):
        """Whether it can be used."""
        return not self.problem

    @functools.cached_property
    def sha256(self):
        """Hash of the file, hexadecimal; empty without one."""
        return _hashOf(self.path) if self.path is not None else ""


def listModels():
    """All models by name: the random field, the bundled ones and the user's.

    Files that cannot be used are there too, with the reason.
    """
    header = _headers()
    entries = [entryOfFile(path, name=path.stem) for path in header.list_models()]
    return [randomField(), *entries]


def entryOf(name):
    """The entry of a model by name or path, or `None` where there is none."""
    for entry in listModels():
        if entry.name == name:
            return entry
    return entryOfFile(Path(name)) if Path(name).is_file() else None


def randomField():
    """The entry without a model."""
    return ModelEntry(
        name=RANDOM_FIELD,
        title=_("Random field, no model: any anatomy"),
        anatomy=_("any: it knows none"),
        recommended={"level": 30},
        notes=_("Smooth and free of folds, but not made to look like another patient."),
    )


def entryOfFile(path, name=None):
    """The entry of a file; a file that cannot be used has a problem instead of a card."""
    name = name or str(path)
    try:
        return _entryOf(Path(path), name)
    except Exception as error:  # whatever a stranger's file may hold
        text = _("cannot be used: {reason}").format(reason=error)
        return ModelEntry(name=name, title=Path(path).stem, path=Path(path), problem=text)


def userModelFolder():
    """The user's own folder of models; it need not be there yet."""
    return _headers().user_model_folder()


def addModelFile(path):
    """Copy a model file to the user's models.

    A model of the same name stays as it is: the copy gets another name, unless it is the same file.

    Args:
        path: A `.safetensors` file.

    Returns:
        The entry of the copy.

    Raises:
        ModelProblem: If it is no model, or cannot be copied.
    """
    path = Path(path)
    if path.suffix != _SUFFIX:
        text = _("{name} must be a {suffix} file; published weights are imported instead.")
        raise ModelProblem(text.format(name=path.name, suffix=_SUFFIX))
    entry = entryOfFile(path)
    if entry.problem:
        raise ModelProblem(f"{path.name} {entry.problem}")
    for known in _headers().list_models():
        if known.stat().st_size == path.stat().st_size and _hashOf(known) == entry.sha256:
            return entryOfFile(known, name=known.stem)
    try:
        return _copied(path)
    except OSError as error:  # the core's words on it
        raise ModelProblem(str(error)) from error


def looksFitting(entry, size, spacing, modalityHint=None):
    """What speaks against a model for a volume.

    Args:
        entry: The model.
        size: Voxels (i, j, k).
        spacing: mm (i, j, k).
        modalityHint: `CT`, `MR`, ... where it is known.

    Returns:
        A warning, one sentence or more, or `None`.
    """
    if entry.problem:
        return f"{entry.title} {entry.problem}"
    if entry.name == RANDOM_FIELD:
        return None
    found = [
        _wrongModality(entry, modalityHint),
        _wrongDimension(entry, size) or _wrongExtent(entry, size, spacing),
    ]
    return " ".join(filter(None, found)) or None


def _wrongModality(entry, hint):
    """A warning where the volume is known to come from another kind of scanner."""
    known = (entry.modality or "any").lower()
    if not hint or known in ("any", hint.lower()):
        return None
    if known == _MADE_UP:
        text = _("{title} was trained on made-up images: it is for a first look, not for {hint}.")
    else:
        text = _("{title} was trained on {modality}, but the volume is {hint}.")
    return text.format(title=entry.title, modality=entry.modality, hint=hint)


def _wrongDimension(entry, size):
    """A warning where a 3D model meets a slice."""
    if entry.dimension == 3 and min(size) < 2:
        text = _("{title} deforms volumes, but this is a single slice: choose a 2D model.")
        return text.format(title=entry.title)
    return None


def _wrongExtent(entry, size, spacing):
    """A warning where the volume covers much more or less than the training images, or coarser."""
    step = entry.grid.get("spacing_mm")
    if entry.grid.get("mode") != "spacing" or not step or len(entry.shape) != entry.dimension:
        return None
    extent = [count * mm for count, mm in zip(size, spacing, strict=True)]
    known = [count * step for count in reversed(entry.shape)]
    if entry.dimension == 2:
        # Which axis runs across the slices is chosen elsewhere: the slices are taken to be the two
        # axes that suit best.
        pairs = [(0, 1), (0, 2), (1, 2)]
    else:
        pairs = [(0, 1, 2)]
    ratios = [[extent[axis] / mm for axis, mm in zip(each, known, strict=True)] for each in pairs]
    best = min(ratios, key=lambda each: max(abs(math.log(max(ratio, 1e-9))) for ratio in each))
    if max(best) > _MORE or min(best) < _LESS:
        text = _("{title} was trained on images of {known} mm, but the volume covers {extent} mm.")
        advice = _("Crop it first.") if max(best) > _MORE else _("It needs a larger field of view.")
        words = text.format(title=entry.title, known=_times(known), extent=_times(extent))
        return f"{words} {advice}"
    if entry.dimension == 3 and max(spacing) > _COARSE * step:
        text = _("{title} works on voxels of {step:g} mm, but those of the volume are {mm:g} mm.")
        return text.format(title=entry.title, step=step, mm=max(spacing))
    return None


def _times(values):
    """Numbers as `240 x 240 x 160`."""
    return " x ".join(f"{value:.0f}" for value in values)


def _headers():
    """The core's reader of headers, which needs the standard library alone."""
    addCoreToPath()
    from DRDMCore import model_header

    return model_header


def _entryOf(path, name):
    """The entry of a good file."""
    header = _headers().read_header(path)
    _requireWhole(path)
    card, grid = header["card"], header["grid"]
    dimension = grid["dimension"]
    if dimension not in (2, 3):
        raise ModelProblem(_("its images must be 2D or 3D, not {given}").format(given=dimension))
    shape = (card.get("training") or {}).get("shape") or ()
    texts = {key: str(card.get(key) or "") for key in ("data", "licence", "notes")}
    return ModelEntry(
        name=name,
        title=str(card.get("title") or card.get("name") or path.stem),
        modality=str(card.get("modality") or "any"),
        anatomy=str(card.get("anatomy") or "any"),
        dimension=dimension,
        recommended=dict(card.get("recommended") or {}),
        path=path,
        grid=dict(grid),
        shape=tuple(shape),
        **texts,
    )


def _requireWhole(path):
    """Refuse a file whose weights are cut off: its header alone would still look well."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensors = json.loads(file.read(length))
        there = os.fstat(file.fileno()).st_size - 8 - length
    ends = [each["data_offsets"][1] for name, each in tensors.items() if name != "__metadata__"]
    if max(ends, default=0) != there:
        text = _("it has {there} bytes of weights instead of {wanted}: get the file again")
        raise ModelProblem(text.format(there=there, wanted=max(ends, default=0)))


def _copied(path):
    """Copy a file to the user's models under a name that is free; its entry."""
    addCoreToPath()
    from DRDMCore.atomic import written_whole

    target = freePath(path.stem)
    with written_whole(target) as temporary:
        shutil.copyfile(path, temporary)
    return entryOfFile(target, name=target.stem)


def freePath(name):
    """The file of a new model of the user: of this name, or with a number where that is taken."""
    folder = userModelFolder()
    taken = {each.stem.lower() for each in _headers().list_models()} | {RANDOM_FIELD}
    names = [name, *(f"{name}-{number}" for number in range(2, 10_000))]
    paths = (folder / f"{each}{_SUFFIX}" for each in names if each.lower() not in taken)
    return next(path for path in paths if not path.exists())


def _hashOf(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
