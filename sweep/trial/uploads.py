"""A trial's newest checkpoint on its way to the store: training only hands over folders, one thread uploads them."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.common.formatting import with_class
from sweep.store.store import Row
from sweep.trial.reporting import Clock

log = logging.getLogger(__name__)
RETRY_S = 2.0  # until a checkpoint is tried again that the store refused
ROWS_S = 0.1  # until it is tried again where rows up to it are still on their way
JOIN_S = 1.0  # a thread that does not come back from the store after this is left behind; it is a daemon


@dataclass(frozen=True)
class Saved:
    """A folder to be kept as checkpoint: the step it was made at and, for a trial's final one, how the trial ended."""

    folder: Path
    step: int
    outcome: Row | None = None


class Uploads:
    """Holds one folder: a newer one replaces one that waits, but not one that is being uploaded.

    A checkpoint is uploaded only once the rows up to it are in the store: an attempt that resumes from it does not make
    them again.

    Args:
        upload: puts a folder into the store and returns its name there; may raise or hang.
        rows_stored: whether all rows that were reported are in the store; may wait a moment for it.
        work_dir: where folders wait, on the file system that they are made on.
    """

    def __init__(
        self,
        upload: Callable[[Saved], str],
        rows_stored: Callable[[], bool],
        work_dir: Path,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.newest: str | None = None  # the name in the store of what was uploaded last
        self._upload, self._rows_stored, self._work_dir = upload, rows_stored, work_dir
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._waiting: Saved | None = None
        self._busy: Saved | None = None
        self._reported: int | None = None
        self._trained = self._closed = self._refused = False
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._loop, name="checkpoints", daemon=True)
        self._thread.start()

    # --- the training's side -----------------------------------------------------------------------------------------

    def offer(self, folder: Path, step: int, outcome: Row | None = None) -> None:
        """Takes a folder: it is moved, so that what made it may go on writing elsewhere."""
        kept = self._work_dir / f"saved-{time.monotonic_ns()}"
        folder.rename(kept)
        with self._changed:
            old, self._waiting = self._waiting, Saved(kept, step, outcome)
            unwanted = old if old is not self._busy else None
            self._changed.notify_all()
        _remove(unwanted)

    def reported(self, step: int) -> None:
        """Says that a step's row was reported. One that waits for its evaluation comes after its step's checkpoint."""
        with self._changed:
            self._reported = step
            if self._waiting is not None:
                self._changed.notify_all()

    def trained(self) -> None:
        """Says that no more rows come."""
        with self._changed:
            self._trained = True
            self._changed.notify_all()

    def close(self, patience: float) -> Saved | None:
        """Waits at most `patience` seconds for what waits, and ends the thread; returns what the store has not got."""
        with self._changed:
            deadline = self._clock.now() + patience
            while self._waiting is not None and not self._closed and (left := deadline - self._clock.now()) > 0:
                self._clock.wait(self._changed, left)
            self._closed = True
            self._changed.notify_all()
            rest = self._waiting
        self._thread.join(JOIN_S)
        return rest if rest is self._waiting else None

    # --- the thread --------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while (saved := self._next()) is not None:
            try:
                if not self._rows_stored():
                    self._settle(saved, ROWS_S)
                    continue
                self.newest = self._upload(saved)
            except Exception as error:  # whatever the store raises, training goes on
                if not self._refused:
                    log.warning("The store refused a checkpoint, which waits now: %s", with_class(error))
                self._refused = True
                self._settle(saved, RETRY_S)
            else:
                if self._refused:
                    log.warning("The store takes checkpoints again.")
                self._refused = False
                self._settle(saved, None)

    def _next(self) -> Saved | None:
        """Waits for a checkpoint that is due; None when it is time to end."""
        with self._changed:
            while not self._closed:
                now = self._clock.now()
                if self._waiting is not None and self._has_its_row(self._waiting) and now >= self._not_before:
                    self._busy = self._waiting
                    return self._busy
                due = self._waiting is not None and now < self._not_before
                self._clock.wait(self._changed, self._not_before - now if due else None)
        return None

    def _has_its_row(self, saved: Saved) -> bool:
        """A trainable that reports no steps has nothing to wait for."""
        return self._trained or self._reported is None or self._reported >= saved.step

    def _settle(self, saved: Saved, pause: float | None) -> None:
        """What was busy is in the store, or waits on for `pause` seconds unless it was replaced meanwhile."""
        with self._changed:
            self._busy = None
            if pause is None and self._waiting is saved:
                self._waiting = None
            unwanted = saved if self._waiting is not saved else None
            self._not_before = self._clock.now() + (pause or 0.0)
            self._changed.notify_all()
        _remove(unwanted)


def _remove(saved: Saved | None) -> None:
    if saved is not None:
        shutil.rmtree(saved.folder, ignore_errors=True)
