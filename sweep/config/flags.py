"""Declares the sweep's own settings: each once, as a field of SweepConfig with its type, default, range and help."""

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sweep.config.coercion import Field, coerce

Recorded: TypeAlias = Literal["axes", "rules", "flags"]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a setting may have. `least` and `most` are inclusive, `above` and `below` exclusive."""

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound:.10g}" for word, bound in bounds.items() if math.isfinite(bound))


@dataclass(frozen=True, kw_only=True)
class Flag(Field):
    """A setting of the sweep itself: a flag, and a key of a YAML file.

    Attributes:
        metavar: the name of its value in `--help`.
        within: the numbers that it, or each of its values, may be.
        beyond: what to say about a number outside, besides the bounds.
        example: example values, as written after the flag.
        recorded: the part of sweep.json that keeps it, from which the report writes the command that reproduces the sweep.
            None if it affects neither trials nor answer, or is specific to this machine or user.
    """

    metavar: str
    within: Range
    beyond: str
    example: str
    recorded: Recorded | None

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(self.hint) is tuple

    @property
    def gathers(self) -> bool:
        """Whether it may be repeated, each time with more `KEY=V1,V2`."""
        return typing.get_origin(self.hint) is Mapping

    @property
    def element(self) -> Any:
        """The type of each value, apart from the words among `choices`."""
        members = _members(typing.get_args(self.hint)[0] if self.many else self.hint)
        return functools.reduce(operator.or_, (one for one in members if typing.get_origin(one) is not Literal))

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that its type allows: the only values of a single-valued flag; besides numbers for one with several."""
        members = _members(typing.get_args(self.hint)[0] if self.many else self.hint)
        return tuple(word for one in members if typing.get_origin(one) is Literal for word in typing.get_args(one))

    def read(self, value: Any) -> Any:
        """The value in the flag's type; for several values, a tuple of them as written."""
        if self.many:
            return tuple(value) if isinstance(value, list) else (value,)
        return coerce(value, self.hint)


def flag(
    help: str,
    default: Any,
    metavar: str = "VALUE",
    *,
    within: Range = Range(),  # frozen
    beyond: str = "",
    example: str = "",
    recorded: Recorded | None = "flags",
) -> Any:
    """Declares a field of SweepConfig as a flag; its annotation is the flag's type. See Flag."""
    rest = {"help": help, "metavar": metavar, "within": within, "beyond": beyond, "example": example}
    metadata = {**rest, "recorded": recorded}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declared(cls: type) -> dict[str, Flag]:
    """The flags that a dataclass declares, by name, in order."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: Flag(
            name=field.name, hint=_hint(hints[field.name], field), default=_default(field), **field.metadata
        )
        for field in dataclasses.fields(cls)
        if field.metadata
    }


def _hint(annotation: Any, field: "dataclasses.Field[Any]") -> Any:
    """A flag whose default is None may be unset; the configuration then computes its value."""
    return annotation | None if field.default is None else annotation


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
