"""A worker process: runs one trial after the other, as long as it is clean."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweep.common.imports import without_gc
from sweep.contract.trainable import Trainable
from sweep.store.store import Store
from sweep.trial import process, scratch
from sweep.trial.attempt import Attempt
from sweep.trial.spec import SweepSpec


class NotClean(Exception):
    """An earlier trial left something behind in this process, which must end: the next trial's measurements would include it."""


class Worker:
    """Runs attempts in this process, which has its own temporary folder and is clean at the start of each trial."""

    def __init__(self, trainable: Trainable, shared: Any, sweep: SweepSpec) -> None:
        if not sweep.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray lets a process that asked for no GPU see them all
        self._trainable, self._shared, self._sweep = trainable, shared, sweep
        self._store = Store(sweep.location, sweep.nonce)
        self._scratch = scratch.settle()
        self._clean: process.Clean | None = None
        self._attempt: Attempt | None = None
        self._remains: list[Any] = []
        self._used = False

    def begin(self, trial_id: str) -> Attempt:
        """Starts the next trial's attempt.

        Raises:
            NotClean: this process must not run it; the trial's log says why.
            StoreUnreachable, LockLost: see Attempt.
        """
        self.end()
        if self._clean is None:
            with without_gc():
                self._warm()
            self._clean = process.snapshot()
        elif reasons := process.unclean(self._clean, self._remains):
            raise NotClean(self._note(trial_id, reasons))
        attempt = Attempt(
            self._sweep.trials[trial_id],
            self._sweep,
            self._store,
            Path(self._sweep.spool),
            self._trainable,
            self._shared,
            reused=self._used,
            spare=self._scratch.parent,  # results not yet stored outlive this process
        )
        attempt.start()
        self._attempt = attempt
        return attempt

    def end(self) -> None:
        """Stops the attempt if it is still running, and restores this process's state."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        try:
            attempt.close("Ray Tune stopped it")
        finally:
            self._remains, self._used = attempt.remains, True
            if self._clean is not None:
                process.restore(self._clean)

    def close(self) -> None:
        """Ends the attempt, and removes this process's temporary files."""
        try:
            self.end()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _warm(self) -> None:
        """Imports what the trainable needs, so that the state that libraries set at import counts as clean."""
        with suppress(Exception):  # it is raised again where the trial's row can record it
            self._trainable.warm()

    def _note(self, trial_id: str, reasons: list[str]) -> str:
        """Writes the reasons to the log of the trial, which continues it in another process."""
        text = (
            f"The previous trial's process ({os.getpid()}) is not reused, since it is not clean: "
            f"{'; '.join(reasons)}. A fresh one was started."
        )
        print(f"[{trial_id}] {text}", flush=True)
        self._store.write_log(trial_id, f"{text}\n")
        return text
