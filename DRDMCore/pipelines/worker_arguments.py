"""The arguments of the worker's jobs: known, there, and of the right kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from DRDMCore.errors import InputError

KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "whole number": (int,),
    "number": (int, float),
    "yes or no": (bool,),
    "object": (dict,),
    "list": (list,),
}


def checked(job: str, given: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a job; those that are null or not there are left out.

    Args:
        job: Name of the job, for messages.
        given: What the other program sent.
        wanted: Kind of each argument, one of `KINDS`; a name that ends with `?` may be missing.

    Raises:
        InputError: If an argument is unknown, missing, or of another kind.
    """
    kinds = {name.removesuffix("?"): kind for name, kind in wanted.items()}
    present = {name: value for name, value in given.items() if value is not None}
    unknown = [name for name in given if name not in kinds]
    missing = [name for name in wanted if not name.endswith("?") and name not in present]
    if unknown or missing:
        wrong = [f"{name} is missing" for name in missing] + [f"{n} is unknown" for n in unknown]
        raise InputError(
            f"the arguments of {job!r} must be {', '.join(wanted)} (? may be missing), but "
            f"{', '.join(wrong)}: correct the request."
        )
    for name, value in present.items():
        is_flag = isinstance(value, bool)
        if not isinstance(value, KINDS[kinds[name]]) or is_flag != (kinds[name] == "yes or no"):
            raise InputError(f"`{name}` of {job!r} must be a {kinds[name]}, got {value!r}.")
    return present
