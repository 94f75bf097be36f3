"""SFT for a sweep under attack: slow while a trial evaluates, a checkpoint is uploaded or a decision is recorded, and says so."""

import os
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from sweep.common.names import Resolve
from sweep.errors import Problem
from sweep.space import Trial
from sweep.store.store import Store
from trainables.sft import SFT

FOLDER = "CHAOS_WINDOWS"  # environment variable: where the marks are made
PAUSE_S = 0.5  # before and after


class Slow(SFT):
    """The demo's trainable, with windows to kill in: one in the driver, two in the trials' processes."""

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> Sequence[Problem]:
        """The driver calls it, before anything starts."""
        if not hasattr(Store.write_decisions, "__wrapped__"):
            Store.write_decisions = _slowly("decision", Store.write_decisions)  # type: ignore[method-assign]
        return super().check(trials, resolve)

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
