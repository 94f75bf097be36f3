"""Resolves names that users write (of models, data sets, files) to local paths."""

from collections.abc import Callable
from pathlib import Path

Resolve = Callable[[str], str]  # a name that a user wrote → an existing local path, or the name itself
PROJECT = Path(__file__).parents[2]


def resolver(base: str) -> Resolve:
    """Resolves names relative to `base` (the user's working directory), then to the project (files that it ships)."""

    def resolve(name: str) -> str:
        for folder in (Path(base), PROJECT):
            try:
                path = folder / Path(name).expanduser()
                if path.exists():
                    return str(path)
            except (OSError, RuntimeError, ValueError):  # too long, ~ of an unknown user, not a file name at all
                continue
        return name

    return resolve


def exists_locally(path: str) -> bool:
    """Whether a name, as a Resolve returned it, is a file or folder on this machine."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
