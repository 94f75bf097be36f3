"""Uploads a trial's newest checkpoint in a thread of its own: training only hands over folders."""

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
RETRY_S = 2.0  # until a checkpoint that the store refused is retried
ROWS_S = 0.1  # until it is retried if rows up to it are not in the store yet
JOIN_S = 1.0  # a thread that is still blocked by the store after this is abandoned; it is a daemon thread


@dataclass(frozen=True)
class Saved:
    """A folder to be kept as a checkpoint: its step and, for a trial's final one, how the trial ended."""

    folder: Path
    step: int
    outcome: Row | None = None


class Uploads:
    """Holds one folder: a newer one replaces one that is waiting, but not one that is being uploaded.

    A checkpoint is uploaded only once the rows up to it are in the store, since an attempt that resumes from it does not
    produce them again.

    Args:
        upload: uploads a folder and returns its name in the store; may raise or hang.
        rows_stored: whether all reported rows are in the store; may block for a moment.
        work_dir: where folders wait, on the file system that they are created on.
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

    # --- the training thread's side -----------------------------------------------------------------------------------------

    def offer(self, folder: Path, step: int, outcome: Row | None = None) -> None:
        """Takes a folder by moving it, so that its path can be reused."""
        kept = self._work_dir / f"saved-{time.monotonic_ns()}"
        folder.rename(kept)
        with self._changed:
            old, self._waiting = self._waiting, Saved(kept, step, outcome)
            unwanted = old if old is not self._busy else None
            self._changed.notify_all()
        _remove(unwanted)

    def reported(self, step: int) -> None:
        """Notes that a step's row was reported. If the step is evaluated, its row comes after its checkpoint."""
        with self._changed:
            self._reported = step
            if self._waiting is not None:
                self._changed.notify_all()

    def trained(self) -> None:
        """Notes that no more rows will come."""
        with self._changed:
            self._trained = True
            self._changed.notify_all()

    def close(self, patience: float) -> Saved | None:
        """Waits up to `patience` seconds for a pending upload and ends the thread; returns what the store does not have."""
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
            except Exception as error:  # whatever the store raises, training continues
                if not self._refused:
                    log.warning("The store refused a checkpoint; it is kept and retried: %s", with_class(error))
                self._refused = True
                self._settle(saved, RETRY_S)
            else:
                if self._refused:
                    log.warning("The store accepts checkpoints again.")
                self._refused = False
                self._settle(saved, None)

    def _next(self) -> Saved | None:
        """Waits for a checkpoint that is due; None when the thread should end."""
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
        """Whether the row of the checkpoint's step was reported. A trainable that reports no steps has nothing to wait for."""
        return self._trained or self._reported is None or self._reported >= saved.step

    def _settle(self, saved: Saved, pause: float | None) -> None:
        """The upload has succeeded (`pause` is None), or is retried after `pause` seconds unless the folder was replaced."""
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
