"""Names that users write, and what is behind them: local paths."""

from collections.abc import Callable
from pathlib import Path

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


def exists_locally(path: str) -> bool:
    """Whether a name, as a Resolve gave it, is one of a file or folder here."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
