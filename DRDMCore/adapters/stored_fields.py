"""The fields of one subject in one file, drawn once and read one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from DRDMCore.atomic import written_whole
from DRDMCore.errors import InputError

_KEY = "drdm"


@dataclass(frozen=True)
class StoredFields:
    """A file of fields.

    Attributes:
        path: The `.safetensors` file.
    """

    path: Path

    def seeds(self) -> list[int]:
        """What made each field; empty if there is no file.

        Raises:
            InputError: If the file is damaged.
        """
        facts = self.facts()
        try:
            return [int(seed) for seed in facts["seeds"]] if facts else []
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def facts(self) -> dict[str, Any]:
        """What `write` was told, and the `seeds`; empty if there is no file.

        Raises:
            InputError: If the file is damaged.
        """
        if not self.path.is_file():
            return {}
        try:
            with safe_open(self.path, "pt") as file:
                return dict(json.loads(file.metadata()[_KEY]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def read(self, number: int) -> Tensor:
        """The field of a number, `(1, D, *S)` float32 voxels along the axes of the tensor.

        Raises:
            InputError: If the file is damaged.
        """
        try:
            with safe_open(self.path, "pt") as file:
                field: Tensor = file.get_tensor(str(number))
        except (SafetensorError, OSError) as error:
            raise self._damaged(error) from error
        return field[None]

    def write(
        self, fields: Sequence[Tensor], seeds: Sequence[int], facts: Mapping[str, Any]
    ) -> None:
        """Write fields `(1, D, *S)`, whole or not at all.

        Args:
            fields: The fields.
            seeds: What made each of them.
            facts: What else to know of them: model and settings.

        Raises:
            OutputError: If the file cannot be written.
        """
        text = json.dumps({**facts, "seeds": list(seeds)}, sort_keys=True)
        tensors = {
            str(number): field[0].to(torch.float32).contiguous()
            for number, field in enumerate(fields)
        }
        with written_whole(self.path) as temporary:
            try:
                save_file(tensors, temporary, metadata={_KEY: text})
            except SafetensorError as error:
                raise OSError(str(error)) from error

    def _damaged(self, error: Exception) -> InputError:
        """The error of a file that cannot be read."""
        return InputError(
            f"{self.path} must be a file of fields, but cannot be read ({error}): remove it and "
            "fill the folder again."
        )
