"""One attempt of one trial, whoever runs it: Ray Tune's class, a test, a loop. Nothing here knows of Ray.

    attempt = Attempt(trial, sweep, store, spool, trainable, shared)
    attempt.start()
    while not isinstance(found := attempt.poll(1.0), Ended):
        ...                                        # found.rows, found.phase
    attempt.close()

Training runs in a thread of its own that only enqueues rows and hands over checkpoints; others write them to the store.
So neither who polls nor the store can make training wait.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep import redact
from sweep.common.retry import retry
from sweep.contract.trainable import Trainable
from sweep.store import leftovers
from sweep.store.store import Row, Store
from sweep.trial.claim import Claim, claim
from sweep.trial.running import Running
from sweep.trial.spec import SweepSpec, TrialSpec

INTERVAL_S = 0.1  # between polls that return rows: one at every step would take the interpreter from training as often


@dataclass(frozen=True)
class Progress:
    """What is new: rows in order, or, where there are none, what the trial does besides training. May be empty."""

    rows: Sequence[Row] = ()
    total_steps: int | None = None
    phase: str | None = None
    rows_left: int | None = None


@dataclass(frozen=True)
class Ended:
    """The trial has its row. `outcome`: the columns that say how it ended, and where its checkpoint is."""

    outcome: Row


class Attempt:
    """One attempt of one trial. It is used from one thread.

    Args:
        spool: the folder on this machine for what waits for the store, of the whole sweep.
        shared: what the trainable has prepared for all trials.
        reused: whether this process has run another trial before.
        spare: a folder for what waits where the spool cannot be written; else among this process's temporary files.

    Attributes:
        number: 1 for the trial's first attempt; 0 until it is started.
    """

    def __init__(
        self,
        trial: TrialSpec,
        sweep: SweepSpec,
        store: Store,
        spool: Path,
        trainable: Trainable,
        shared: Any = None,
        *,
        reused: bool = False,
        spare: Path | None = None,
    ) -> None:
        self.number = 0
        self._trial, self._sweep, self._store, self._spool = trial, sweep, store, spool
        self._trainable, self._shared, self._reused = trainable, shared, reused
        self._spare = spare
        self._running: Running | None = None
        self._ended: Ended | None = None
        self._polled_at = 0.0
        self._shown: Row = {}
        self._raised = False

    def start(self) -> None:
        """Claims the trial, once the store is there, and begins to train. There is nothing to train where its row was only not written.

        Raises:
            StoreUnreachable: the store stayed away.
            LockLost: another driver has the sweep.
        """
        redact.learn(self._trial.settings)
        work_dir = Path(tempfile.mkdtemp(prefix="attempt-"))
        try:
            claimed = self._claim(work_dir)
            self.number = claimed.attempt
            if claimed.ended:
                self._ended = Ended(claimed.ended)
            else:
                self._running = self._make(claimed, work_dir)
                self._running.start()
        finally:
            if self._running is None:
                shutil.rmtree(work_dir, ignore_errors=True)

    def poll(self, timeout: float) -> Progress | Ended:
        """What is new; waits at most `timeout` seconds for it, and for INTERVAL_S to be over. Training does not wait for it.

        Raises:
            StoreUnreachable: the store stayed away at the end; what was measured is kept on this machine.
            LockLost: another driver has the sweep; nothing more was written.
        """
        if self._running is None:
            assert self._ended is not None, "poll before start"
            return self._ended
        running = self._running
        running.trained.wait(max(0.0, self._polled_at + INTERVAL_S - time.monotonic()))
        self._polled_at = time.monotonic()
        over = running.trained.is_set()  # asked before the rows are: none comes after it
        if rows := running.reporter.take(0.0 if over else timeout):
            return Progress(rows, running.context.total_steps)
        if over and running.ended.wait(timeout):
            self._raise()
            return Ended(running.outcome)
        return self._phase(running.phase)

    def stop(self, reason: str) -> None:
        """Has training end at its next step; `poll` says when it has. One that is evaluated just then is completed."""
        if self._running is not None:
            self._running.stop(reason)

    def close(self, reason: str = "it was told to") -> None:
        """Stops the training if it still goes on, and waits until its row is written.

        Raises:
            StoreUnreachable, LockLost: as `poll`, which then has not raised it.
        """
        if self._running is not None:
            self._running.stop(reason)
            self._running.join()
            self._raise()

    @property
    def remains(self) -> list[Any]:
        """Weak references to what must be dead before this process runs another trial."""
        return self._running.context.leftovers if self._running is not None else []

    def _claim(self, work_dir: Path) -> Claim:
        """Has the store note the attempt's begin."""
        name = self._trial.trial_id
        ended = any((folder / "ending.json").exists() for folder in leftovers.pending(self._spool, name))
        patience = 0 if ended else self._sweep.patience_s  # an attempt before this one has waited
        try:
            return retry(lambda: claim(self._store, self._spool, name, work_dir, self._trial.micro_batch), patience)
        except OSError as error:
            raise leftovers.unreachable(self._store, name, error, self._spool / name) from None

    def _make(self, claimed: Claim, work_dir: Path) -> Running:
        folder = self._folder(claimed.attempt)
        with suppress(OSError):  # a full disk: the log is the least of what is measured
            (folder / "log").write_text(claimed.log)
        given = self._trial, self._sweep, self._store, claimed, folder, work_dir
        return Running(*given, self._trainable, self._shared, self._reused)

    def _folder(self, number: int) -> Path:
        """Keeps what the store has not got: found again by a later command, if the disk has room for it."""
        folder = self._spool / self._trial.trial_id / str(number)
        try:
            leftovers.protect(self._spool)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix="sweep-spool-", dir=self._spare))
        return folder

    def _phase(self, phase: Row) -> Progress:
        """What it does, once."""
        if not phase or phase is self._shown:
            return Progress()
        self._shown = phase
        return Progress(phase=phase["phase"], rows_left=phase.get("rows_left"))

    def _raise(self) -> None:
        """Raises what has ended the attempt without a row, once."""
        if self._running is not None and self._running.error is not None and not self._raised:
            self._raised = True
            raise self._running.error
