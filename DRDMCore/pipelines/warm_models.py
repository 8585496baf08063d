"""Models that stay loaded between jobs."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from DRDMCore.models import RANDOM_FIELD, Model, find_model, load_model
from DRDMCore.progress import Callback, Event, tell

_KEPT = 2

_Key = tuple[Path, int, int, str]


class WarmModels:
    """The models of the last jobs, each on its device; a file that has changed is read again."""

    def __init__(self) -> None:
        """Begin with none."""
        self._models: OrderedDict[_Key, Model] = OrderedDict()

    def get(self, name: str, device: str, progress: Callback | None = None) -> str | Model:
        """The model of a name or path on a device; `none` stays a name, it suits each image.

        Args:
            name: Name, path or `none`.
            device: Where its network is to be.
            progress: Told when a file is read.

        Raises:
            ModelError: If there is no such model, or its file cannot be used.
        """
        if name == RANDOM_FIELD:
            return name
        path = find_model(name).absolute()
        facts = path.stat()
        key = (path, facts.st_mtime_ns, facts.st_size, device)
        if key not in self._models:
            tell(progress, Event("note", f"reading the model {path.stem}", data={"reads": name}))
            self._models[key] = load_model(path, device=device)
        self._models.move_to_end(key)
        while len(self._models) > _KEPT:
            self._models.popitem(last=False)
        return self._models[key]
