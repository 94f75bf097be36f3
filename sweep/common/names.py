"""Names that users write, and what is behind them: local paths, and classes by import string."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep.common.reading import sentence
from sweep.errors import ConfigError

Resolve = Callable[[str], str]  # a name that a user wrote → an existing local path, or the name itself
PROJECT = Path(__file__).parents[2]


def resolver(base: str) -> Resolve:
    """Finds local names relative to a folder (where the user stands), then to the project (what it ships)."""

    def resolve(name: str) -> str:
        for folder in (Path(base), PROJECT):
            try:
                path = folder / Path(name).expanduser()
                if path.exists():
                    return str(path)
            except (OSError, RuntimeError, ValueError):  # too long, of an unknown user, no name of a file at all
                continue
        return name

    return resolve


def is_there(path: str) -> bool:
    """Whether a name, as a Resolve gave it, is one of a file or folder here."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def load_trainable(name: str) -> Any:
    """The class behind `module:name`.

    Raises:
        ConfigError: there is none.
    """
    module, _, attribute = name.partition(":")
    mend = "Give module:name, as in trainables.sft:SFT."
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise ConfigError([f"--trainable {name!r} cannot be imported: {sentence(str(error))} {mend}"]) from error
    lacks = [part for part in ("check", "prepare", "run") if not callable(getattr(found, part, None))]
    if not isinstance(found, type) or lacks:
        what = f"has no {' and no '.join(lacks)}" if isinstance(found, type) else "is no class"
        raise ConfigError([f"--trainable {name!r} {what}. {mend} CONTRIBUTING.md says what it needs."])
    return found
