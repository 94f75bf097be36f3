"""Loads classes by the import strings that users write and trainables declare."""

import importlib
import types
from typing import Any, cast

from sweep.common.formatting import sentence
from sweep.contract.trainable import Trainable
from sweep.errors import Complaint, ConfigError

FIX = "Give module:name, as in trainables.sft:SFT."


def load(name: str) -> Any:
    """Imports `module:name`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load_trainable(name: str) -> type[Trainable]:
    """The trainable class `module:name`. It need not inherit from Trainable if it has the required methods.

    Raises:
        ConfigError: there is no such class.
    """
    try:
        found = load(name)
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise ConfigError([Complaint("trainable", f" {name!r} cannot be imported: {sentence(error)} {FIX}")]) from error
    lacks = [part for part in sorted(Trainable.__abstractmethods__) if not _has(found, part)]
    if not isinstance(found, type) or lacks:
        what = f"has no {' and no '.join(lacks)}" if isinstance(found, type) else "is not a class"
        raise ConfigError([Complaint("trainable", f" {name!r} {what}. {FIX} CONTRIBUTING.md says what it needs.")])
    return found if issubclass(found, Trainable) else _with_defaults(found)


def _has(found: Any, part: str) -> bool:
    return callable(getattr(found, part, None)) and part not in getattr(found, "__abstractmethods__", ())


def _with_defaults(plain: type) -> type[Trainable]:
    """The class with a Trainable's defaults for what it lacks. Not importable by its name, so it is pickled by value."""
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__, "__doc__": plain.__doc__}
    made = types.new_class(plain.__name__, (plain, Trainable), exec_body=lambda body: body.update(names))
    return cast(type[Trainable], made)
