"""What a parameter's annotation may say about its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


class Validator:
    """A rule for values."""

    def validate(self, value: Any) -> None:
        """Raise a `ValueError` for a value that is not allowed."""
        raise NotImplementedError


@dataclasses.dataclass(eq=False)
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(
                f"Value must be within range [{self.minimum}, {self.maximum}], is {value}"
            )


@dataclasses.dataclass(eq=False)
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclasses.dataclass(eq=False)
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclasses.dataclass(eq=False)
class Choice(Validator):
    choices: Sequence[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


@dataclasses.dataclass(eq=False)
class Exclude(Validator):
    excludedValues: Sequence[Any]

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, which is excluded: {self.excludedValues}")


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


class Default:
    """The value of a parameter that was never set."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Default) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass
class Decimals:
    """Decimals of the widget."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """Step of the widget."""

    value: float
