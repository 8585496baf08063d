"""Named failures that a user can cure.

Every message says which argument, what it must be, what it was, and what to do
(docs/conventions.md). Wrong calls by a programmer stay plain `ValueError` or `TypeError`.
"""

from __future__ import annotations


class DRDMError(Exception):
    """Base of all failures that a user can cure."""


class InputError(DRDMError, ValueError):
    """An image, label map, field or setting given by the user cannot be used."""


class MissingFileError(DRDMError, FileNotFoundError):
    """A file or folder given by the user does not exist."""


class OutputError(DRDMError, OSError):
    """A result cannot be written (full or read-only disk, unwritable name)."""


class ModelError(DRDMError, ValueError):
    """A model file is missing, corrupt, foreign or does not fit the input."""


class MemoryLimitError(DRDMError, MemoryError):
    """A job needs more memory than there is."""


class Cancelled(DRDMError):
    """The caller asked a running job to stop."""
