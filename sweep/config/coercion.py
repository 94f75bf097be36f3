"""A setting, and how its value is converted to its type, from a flag's text or from YAML."""

import json
import types
import typing
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sweep.common import reading


@dataclass(frozen=True)
class Field:
    """A setting: its type as its dataclass declares it, its default and its help."""

    name: str
    hint: Any
    default: Any
    help: str

    def read(self, value: Any) -> Any:
        """The value in the setting's type, as `coerce` converts it; a string equal to the default is never read as null."""
        return value if isinstance(value, str) and value == self.default else coerce(value, self.hint)


def coerce(value: Any, hint: Any) -> Any:
    """Converts a value to the type of the hint. Strings (from flags, or YAML's 1e-4) are read as numbers and so on.

    `none` and `null` unset whatever may be unset, so that a flag can override what a YAML file or a preset says.

    Raises:
        ValueError: it cannot be converted; the message says what was expected.
    """
    kinds = _kinds(hint)
    if not _can_be_kept(value):
        raise ValueError(f"{describe(hint)} that JSON can hold")
    if (value is None or unset(value)) and type(None) in kinds:
        return None
    if value is None or (unset(value) and str not in kinds):
        raise ValueError(describe(hint))
    if isinstance(value, str) and str in kinds:
        return _text_or(value, kinds)
    for kind in kinds:
        converted = _convert(value, kind)
        if converted is not _NOT_SO:
            return converted
    raise ValueError(describe(hint))


def unset(value: Any) -> bool:
    """Whether a string means that a setting has no value."""
    return isinstance(value, str) and value.lower() in {"none", "null"}


def describe(hint: Any) -> str:
    """The hint's types in words for users."""
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
        dict: "a mapping",
        list: "a list",
    }
    named = [words.get(kind, getattr(kind, "__name__", str(kind))) for kind in _kinds(hint) if kind is not type(None)]
    return " or ".join(dict.fromkeys(named))


def takes_truth(hint: Any) -> bool:
    """Whether the type includes booleans, so that --no_NAME is valid."""
    return bool in _kinds(hint)


def as_text(value: Any) -> str:
    """A value as messages show it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


_NOT_SO = object()
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _can_be_kept(value: Any) -> bool:
    """Whether JSON can hold it: no NaN, non-string key, lone surrogate or cycle; nor a NUL or an integer beyond 64 bits."""
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return "\\u0000" not in text and not (isinstance(value, int) and abs(value) >= 2**63)


def _text_or(text: str, kinds: list[type]) -> Any:
    """A string where strings are allowed: converted to a mapping, list, number or boolean if those are allowed too."""
    if bool in kinds and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if dict in kinds and text.lstrip().startswith("{"):
        value = _read(text)
        if not isinstance(value, dict) or not _can_be_kept(value):
            raise ValueError("a mapping such as {key: value}")
        return value
    if list in kinds:
        return _listed(text)
    numbers = [_convert(text, kind) for kind in (int, float) if kind in kinds]
    return next((number for number in numbers if number is not _NOT_SO), text)


def _kinds(hint: Any) -> list[type]:
    """The plain classes of a hint, the most specific first: None, bool, int, float, dict, list, str."""
    origin = typing.get_origin(hint)
    members = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)
    classes = [_plain(member) for member in members]
    order = [type(None), bool, int, float, dict, list, str]
    return sorted(dict.fromkeys(classes), key=lambda kind: order.index(kind) if kind in order else len(order))


def _plain(member: Any) -> type:
    origin = typing.get_origin(member) or member
    if origin is typing.Literal:
        return type(typing.get_args(member)[0])
    if isinstance(origin, type) and issubclass(origin, Enum):
        return str
    return origin if isinstance(origin, type) else str


def _convert(value: Any, kind: type) -> Any:
    if kind is str:
        return str(value.value if isinstance(value, Enum) else value) if isinstance(value, str | Enum) else _NOT_SO
    if kind is list:
        return _as_list(value)
    if isinstance(value, str) and kind is bool:
        return _TRUTHS.get(value.lower(), _NOT_SO)
    if isinstance(value, str) and kind in (int, float, dict):
        value = _read(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, bool):
        return _NOT_SO
    return value if isinstance(value, kind) and _can_be_kept(value) else _NOT_SO


def _listed(text: str) -> Any:
    """The list that a string holds in YAML's brackets; otherwise the string itself."""
    value = _read(text) if text.startswith("[") else text
    return value if isinstance(value, list) and _can_be_kept(value) else text


def _as_list(value: Any) -> Any:
    value = _listed(value) if isinstance(value, str) else value
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else _NOT_SO


def _read(text: str) -> Any:
    """A flag's text, parsed as YAML; the text itself if it is not valid YAML."""
    try:
        return reading.parse(text)
    except ValueError:
        return text
