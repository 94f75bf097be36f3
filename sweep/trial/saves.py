"""The newest checkpoint of a trial, on its way from the training's thread to Tune's, which copies it to the store."""

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sweep.store.checkpoints import seal
from sweep.store.store import Row

PAUSE_S = 2.0  # until a checkpoint that the store refused is tried again


class LocalDiskRefuses(OSError):
    """A checkpoint could not be copied on this machine's own disk: the store was not even asked."""


@dataclass(frozen=True)
class Saved:
    """A folder to be kept as checkpoint: the step it was made at and, for a trial's last one, how the trial ended."""

    folder: Path
    step: int
    outcome: Row | None


class Saves:
    """Holds one folder: a newer one takes the place of one that was not copied yet, unless that one is about to be."""

    def __init__(self, work_dir: Path, micro_batch: int | None = None) -> None:
        self._work_dir, self._micro_batch = work_dir, micro_batch
        self._lock = threading.Lock()
        self._newest: Saved | None = None
        self._pinned: Saved | None = None
        self._copied: Saved | None = None
        self._in_store: Saved | None = None
        self._not_before = 0.0

    def offer(self, folder: Path, step: int, outcome: Row | None = None) -> None:
        """Takes a folder: it is moved, so that what made it may go on writing elsewhere."""
        kept = self._work_dir / f"saved-{time.monotonic_ns()}"
        folder.rename(kept)
        with self._lock:
            old, self._newest = self._newest, Saved(kept, step, outcome)
            unwanted = old if old is not self._pinned else None
        if unwanted is not None:
            shutil.rmtree(unwanted.folder, ignore_errors=True)

    def pin(self) -> Saved | None:
        """The newest, which is what `copy` will copy, whatever comes meanwhile."""
        with self._lock:
            old, self._pinned = self._pinned, self._newest
            unwanted = old if old is not self._newest else None
        if unwanted is not None:
            shutil.rmtree(unwanted.folder, ignore_errors=True)
        return self._pinned

    @property
    def waiting(self) -> Saved | None:
        """The newest, while the store has it not."""
        return None if self._newest is self._in_store else self._newest

    @property
    def due(self) -> bool:
        return self.waiting is not None and time.monotonic() >= self._not_before

    def copy(self, into: Path) -> None:
        """Copies the pinned one, sealed.

        Raises:
            LocalDiskRefuses: for instance since it is full.
        """
        self._copied = saved = self._pinned
        if saved is None:
            return
        try:
            shutil.copytree(saved.folder, into, copy_function=_link, dirs_exist_ok=True)
            seal(into, saved.step, saved.outcome, self._micro_batch)
        except OSError as error:
            raise LocalDiskRefuses(error.errno, str(error)) from error

    def accepted(self) -> None:
        """The store has what was copied last."""
        self._in_store = self._copied

    def refused(self) -> None:
        """The store has it not."""
        self._not_before = time.monotonic() + PAUSE_S

    def sealed(self) -> Path | None:
        """The folder that waits, sealed, to be kept elsewhere."""
        saved = self.waiting
        if saved is not None:
            seal(saved.folder, saved.step, saved.outcome, self._micro_batch)
        return saved.folder if saved else None


def _link(source: str, target: str) -> None:
    """The same file under another name, which takes no room; a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
