"""Ray Tune asks for trials, and a Chooser answers. All of its state follows from rows in the store: nothing is saved here."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from sweep.errors import LockLost, StoreError
from sweep.policies.policy import Request
from sweep.run.chooser import Chooser
from sweep.store.store import Row


class Stop(Protocol):
    """Why no more trials start: an interrupt, an unreachable store, or a policy that is done."""

    stopped: bool
    away: bool
    enough: bool


class PolicySearcher(Searcher):  # type: ignore[misc]  # ray has no types
    """Tune's Searcher interface, `suggest`, `on_trial_complete`, `save` and `restore`, for a policy.

    Args:
        slots: returns how many trials may run at once now.
        row_of: returns the row of a trial that ended, after writing it if the trial could not; None if it never started.
        config_of: returns the configuration that Tune gets for a trial.
        refused: if a trial must not start, writes and returns its row; otherwise returns None.
        stop: set if the store has been unreachable for `patience_s` seconds, or if enough is known: trials that are still
            running then were started early, and are stopped.
    """

    def __init__(
        self,
        chooser: Chooser,
        slots: Callable[[], float],
        row_of: Callable[[str], Row | None],
        config_of: Callable[[Request], Row],
        refused: Callable[[Row], Row | None],
        stop: Stop,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._chooser, self._slots, self._row_of = chooser, slots, row_of
        self._config_of, self._refused_row = config_of, refused
        self._stop, self._patience_s, self._clock = stop, patience_s, clock
        self._refused_at: float | None = None
        self._names: dict[str, str] = {}  # ours, by Tune's
        self._ended: list[str] = []

    def __getstate__(self) -> Row:
        return {}  # Tune pickles its searcher

    def suggest(self, trial_id: str) -> Any:
        """The trial that Tune should start; None for none now. If nothing is running, Tune then asks again every second."""
        if self._stop.stopped or self._stop.away:
            return Searcher.FINISHED
        try:
            self._record_ended()
            found = self._begin(trial_id)
            self._refused_at = None
        except LockLost:
            raise
        except (OSError, StoreError):  # the latter of files that are read for a race
            return self._waiting()
        return Searcher.FINISHED if self._stop.enough else found

    def _begin(self, trial_id: str) -> Row | None:
        """Tune's configuration for the next trial that is not refused."""
        while True:
            self._stop.enough = self._chooser.wanted.done
            found = None if self._stop.enough else self._chooser.next(max(1, self._slots()))
            if found is None:
                return None
            config = self._config_of(found)
            if (row := self._refused_row(config)) is None:
                self._names[trial_id] = found.trial.trial_id
                return config
            self._chooser.ended(row)

    def on_trial_complete(self, trial_id: str, result: Row | None = None, error: bool = False) -> None:
        """Only notes the trial: how it ended is known after Tune has called its callbacks too."""
        if (name := self._names.pop(trial_id, None)) is not None:
            self._ended.append(name)

    def _record_ended(self) -> None:
        while self._ended:
            row = self._row_of(self._ended[0])
            name = self._ended.pop(0)
            if row is None:
                self._chooser.never_started(name)
            else:
                self._chooser.ended(row)

    def _waiting(self) -> Any:
        """The store may come back: running trials continue meanwhile, and none starts whose results could not be written."""
        now = self._clock()
        self._refused_at = now if self._refused_at is None else self._refused_at
        self._stop.away = now - self._refused_at >= self._patience_s
        return Searcher.FINISHED if self._stop.away else None

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: a restarted driver reads the rows."""
