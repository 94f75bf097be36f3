"""Names that users write, and what is behind them: local paths, and classes by import string."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep.errors import ConfigError

Resolve = Callable[[str], str]  # a name that a user wrote → an existing local path, or the name itself
PROJECT = Path(__file__).parent.parent


def resolver(base: str) -> Resolve:
    """Finds local names relative to a folder (where the user stands), then to the project (what it ships)."""

    def resolve(name: str) -> str:
        for folder in (Path(base), PROJECT):
            path = folder / Path(name).expanduser()
            if path.exists():
                return str(path)
        return name

    return resolve


def load_trainable(name: str) -> Any:
    """The class behind `module:name`.

    Raises:
        ConfigError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        complaint = f"--trainable {name!r} cannot be imported: {error}. Give module:name, as in trainables.sft:SFT."
        raise ConfigError([complaint]) from error
