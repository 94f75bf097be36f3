"""The user's cache folder on this machine, and atomic writes into it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """`$XDG_CACHE_HOME/lora-rank-sweep/NAME`, below `~/.cache` where that is not set; None for a user without a home.

    A relative XDG_CACHE_HOME counts as not set, as its specification says. Creates nothing.
    """
    chosen = Path(os.environ.get("XDG_CACHE_HOME") or "")
    base = chosen if chosen.is_absolute() else Path(os.path.expanduser("~/.cache"))  # noqa: PTH111  # raises nothing
    return base / "lora-rank-sweep" / name if base.is_absolute() else None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside `path`, which replaces `path` if the block succeeds.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
