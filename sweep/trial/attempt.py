"""One attempt of one trial, independent of what runs it: Ray Tune's class, a test, a loop. Nothing here depends on Ray.

    attempt = Attempt(trial, sweep, store, spool, trainable, shared)
    attempt.start()
    while not isinstance(found := attempt.poll(1.0), Ended):
        ...                                        # found.rows, found.phase
    attempt.close()

Training runs in its own thread, which only enqueues rows and hands over checkpoints; other threads write them to the store.
So neither the caller of `poll` nor the store can block training.
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

INTERVAL_S = 0.1  # between polls that return rows: polling at every step would take the GIL from training at every step


@dataclass(frozen=True)
class Progress:
    """New rows in order or, if there are none, what the trial does besides training. May be empty."""

    rows: Sequence[Row] = ()
    total_steps: int | None = None
    phase: str | None = None
    rows_left: int | None = None


@dataclass(frozen=True)
class Ended:
    """The trial's row is written. `outcome` has the columns that say how it ended, and where its checkpoint is."""

    outcome: Row


class Attempt:
    """One attempt of one trial. To be used from one thread.

    Args:
        spool: the sweep's folder on this machine for what the store has not taken yet.
        shared: what the trainable prepared for all trials.
        reused: whether this process has run another trial before.
        spare: a folder to use if the spool cannot be written to; by default, this process's temporary folder.

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
        """Claims the trial as soon as the store is reachable, and starts training, unless only the trial's row was missing.

        Raises:
            StoreUnreachable: the store stayed unreachable.
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
        """Returns what is new, after at most `timeout` seconds and at least INTERVAL_S since the last call. Never blocks training.

        Raises:
            StoreUnreachable: the store stayed unreachable at the end; what was measured is kept on this machine.
            LockLost: another driver has the sweep; nothing more was written.
        """
        if self._running is None:
            assert self._ended is not None, "poll before start"
            return self._ended
        running = self._running
        running.trained.wait(max(0.0, self._polled_at + INTERVAL_S - time.monotonic()))
        self._polled_at = time.monotonic()
        over = running.trained.is_set()  # read before the rows are taken: none is added after it is set
        if rows := running.reporter.take(0.0 if over else timeout):
            return Progress(rows, running.context.total_steps)
        if over and running.ended.wait(timeout):
            self._raise()
            return Ended(running.outcome)
        return self._phase(running.phase)

    def stop(self, reason: str) -> None:
        """Asks training to end at its next step; `poll` tells when it has. A trial that is being evaluated still completes."""
        if self._running is not None:
            self._running.stop(reason)

    def close(self, reason: str = "it was told to") -> None:
        """Stops training if it is still running, and waits until the trial's row is written.

        Raises:
            StoreUnreachable, LockLost: as `poll`, unless `poll` has raised it already.
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
        """Records the attempt's start in the store."""
        name = self._trial.trial_id
        ended = any((folder / "ending.json").exists() for folder in leftovers.pending(self._spool, name))
        patience = 0 if ended else self._sweep.patience_s  # an earlier attempt has waited already
        try:
            return retry(lambda: claim(self._store, self._spool, name, work_dir, self._trial.micro_batch), patience)
        except OSError as error:
            raise leftovers.unreachable(self._store, name, error, self._spool / name) from None

    def _make(self, claimed: Claim, work_dir: Path) -> Running:
        folder = self._folder(claimed.attempt)
        with suppress(OSError):  # a full disk: the log matters least
            (folder / "log").write_text(claimed.log)
        given = self._trial, self._sweep, self._store, claimed, folder, work_dir
        return Running(*given, self._trainable, self._shared, self._reused)

    def _folder(self, number: int) -> Path:
        """The folder for what the store does not have: a later command finds it in the spool, if that can be written to."""
        folder = self._spool / self._trial.trial_id / str(number)
        try:
            leftovers.protect(self._spool)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix="sweep-spool-", dir=self._spare))
        return folder

    def _phase(self, phase: Row) -> Progress:
        """The current phase, reported once."""
        if not phase or phase is self._shown:
            return Progress()
        self._shown = phase
        return Progress(phase=phase["phase"], rows_left=phase.get("rows_left"))

    def _raise(self) -> None:
        """Raises the error that ended the attempt without a row, once."""
        if self._running is not None and self._running.error is not None and not self._raised:
            self._raised = True
            raise self._running.error
