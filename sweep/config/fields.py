"""What a trainable's settings are called and what values they take, read from the dataclasses that it declares.

Importing TRL takes seconds, so none of them is imported before a configuration is checked.
"""

import difflib
import functools
import json
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from sweep.common import reading
from sweep.contract.loading import load
from sweep.contract.trainable import Trainable
from sweep.errors import ConfigError

# Settings that the sweep sets itself, and what to use instead.
TAKEN = {
    "output_dir": "the sweep's folder is set by --storage_path and --name",
    "seed": "use --seeds",
    "use_peft": "a rank in --lora_r means LoRA, `full` means full fine-tuning",
    "logging_steps": "every step is recorded",
    "logging_strategy": "every step is recorded",
    "logging_first_step": "every step is recorded",
    "logging_nan_inf_filter": "a loss that is not finite ends its trial as diverged",
    "resume_from_checkpoint": "the same command again resumes",
    "do_train": "a trial always trains",
    "do_eval": "a trial always evaluates at its end",
    "do_predict": "a trial does not predict",
    "eval_packing": "held-out rows are never packed: each has its own loss",
    "datasets": "name one data set with --dataset_name",
    "streaming": "a sweep reads its data once; streaming has no length to compare over",
    "dataset_streaming": "a sweep reads its data once; streaming has no length to compare over",
}


# What other tools call some settings.
ELSEWHERE = {
    "rank": "lora_r",
    "ranks": "lora_r",
    "lora_rank": "lora_r",
    "model": "model_name_or_path",
    "dataset": "dataset_name",
    "data": "dataset_name",
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "steps": "max_steps",
    "max_seq_length": "max_length",
    "gpus": "gpus_per_trial",
}


@dataclass(frozen=True)
class Field:
    """A setting: its type as its dataclass declares it, its default and its help."""

    name: str
    hint: Any
    default: Any
    help: str

    def read(self, value: Any) -> Any:
        """The value in the setting's type, as `coerce` reads it; a text that is the default is no other word for null."""
        return value if isinstance(value, str) and value == self.default else coerce(value, self.hint)


def settings_of(kind: type[Trainable]) -> dict[str, Field]:
    """Every setting of a trainable, by name.

    Raises:
        ConfigError: a class that it declares cannot be had.
    """
    own = {name: Field(name, hint, None, text) for name, (hint, text) in kind.SETTINGS.items()}
    return {**declared(kind.CONFIGS), **own}


@functools.cache
def declared(configs: tuple[str, ...]) -> dict[str, Field]:
    """Every field of some dataclasses, named as "module:name", by name.

    Raises:
        ConfigError: one of them cannot be imported, or is no dataclass.
    """
    return {name: field for config in configs for name, field in _fields_of(config).items()}


def _fields_of(config: str) -> dict[str, Field]:
    try:
        cls = load(config)
        hints = typing.get_type_hints(cls)
        return {
            field.name: Field(field.name, hints[field.name], field.default, field.metadata.get("help", ""))
            for field in fields(cls)
            if field.init
        }
    except Exception as error:  # the module may be the user's: importing it may raise anything
        text = f"--trainable: it declares {config} in CONFIGS, which is no dataclass that can be imported: {error}"
        raise ConfigError([text]) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known name that it has elsewhere or the closest one, or nothing."""
    known = list(known)
    elsewhere = [ELSEWHERE[name]] if ELSEWHERE.get(name) in known else []
    close = elsewhere or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def coerce(value: Any, hint: Any) -> Any:
    """The value in the type that the hint asks for. Texts (from flags, or YAML's 1e-4) are read as numbers and so on.

    `none` and `null` unset whatever may be unset, so that a flag can take back what a YAML file or a preset says.

    Raises:
        ValueError: it cannot be; the message says what was expected.
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
    """Whether a text says that a setting is to have no value."""
    return isinstance(value, str) and value.lower() in {"none", "null"}


def describe(hint: Any) -> str:
    """The hint's types in a user's words."""
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        dict: "a mapping",
        list: "a list",
    }
    named = [words.get(kind, getattr(kind, "__name__", str(kind))) for kind in _kinds(hint) if kind is not type(None)]
    return " or ".join(dict.fromkeys(named))


def takes_truth(hint: Any) -> bool:
    """Whether true and false are among the values, so that --no_NAME means something."""
    return bool in _kinds(hint)


def shown(value: Any) -> str:
    """A value as a message names it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


_NOT_SO = object()
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _can_be_kept(value: Any) -> bool:
    """Whether JSON holds it: no NaN, no key that is no text, no half a character, no loop; nor a NUL or a giant number."""
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return "\\u0000" not in text and not (isinstance(value, int) and abs(value) >= 2**63)


def _text_or(text: str, kinds: list[type]) -> Any:
    """A text where texts are allowed: the mapping, list, number or truth that it spells where those are too."""
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
    """The plain classes of a hint, those that few values fit first: none, bool, int, float, dict, list, str."""
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
    """The list that a text spells as YAML does, in brackets; the text itself where it spells none."""
    value = _read(text) if text.startswith("[") else text
    return value if isinstance(value, list) and _can_be_kept(value) else text


def _as_list(value: Any) -> Any:
    value = _listed(value) if isinstance(value, str) else value
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else _NOT_SO


def _read(text: str) -> Any:
    """A flag's text as a YAML file would have it."""
    try:
        return reading.parse(text)
    except ValueError:
        return text
