"""SFT for a sweep under attack: evaluating, uploading checkpoints and recording decisions take longer, with marker files."""

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

FOLDER = "CHAOS_WINDOWS"  # environment variable: the folder for marker files
PAUSE_S = 0.5  # before and after each of them


class Slow(SFT):
    """The demo's trainable, with longer windows in which to kill it: one in the driver, two in the trials' processes."""

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[Problem]:
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
    """Wraps `work` in two pauses and a marker file that names the window and the process."""

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
    """The processes that are in a window at the moment."""
    return [int(mark.name.rpartition("-")[2]) for mark in folder.glob(f"{window}-*")]
