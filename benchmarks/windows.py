"""SFT for a sweep under attack: it takes its time while it evaluates and while a checkpoint is uploaded, and says that it does."""

import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from trainables.sft import SFT

FOLDER = "CHAOS_WINDOWS"  # environment variable: where the marks are made
PAUSE_S = 0.5  # before and after


class Slow(SFT):
    """The demo's trainable, with windows to kill in."""

    def warm(self) -> None:
        super().warm()
        from sweep.store import checkpoints
        from trainables.training import evaluate

        evaluate.held_out = _slowly("evaluation", evaluate.held_out)
        checkpoints.upload = _slowly("upload", checkpoints.upload)


def _slowly(window: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work between two pauses, with a file there meanwhile whose name says the window and the process."""

    @wraps(work)
    def slow(*given: Any, **named: Any) -> Any:
        mark = Path(os.environ[FOLDER]) / f"{window}-{os.getpid()}"
        mark.touch()
        try:
            time.sleep(PAUSE_S)
            result = work(*given, **named)
            time.sleep(PAUSE_S)
            return result
        finally:
            mark.unlink(missing_ok=True)

    return slow


def inside(folder: Path, window: str) -> list[int]:
    """The processes that are in a window just now."""
    return [int(mark.name.rpartition("-")[2]) for mark in folder.glob(f"{window}-*")]
