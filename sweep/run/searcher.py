"""Ray Tune asks for trials; a Chooser answers. What was decided is in the store's rows, so there is nothing to save here."""

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
    """Why nothing more is begun: the user's word, a store that stays away, or that nothing more is wanted."""

    stopped: bool
    away: bool
    enough: bool


class PolicySearcher(Searcher):  # type: ignore[misc]  # ray has no types
    """Tune's Searcher interface, `suggest`, `on_trial_complete`, `save` and `restore`, for a policy.

    Args:
        slots: how many trials may run at once now.
        row_of: an ended trial's row, which it writes where the trial could not; None where it never began.
        config_of: returns the configuration that Tune gets for a trial.
        refused: the row of one that is not to begin, which it has written; None where it is.
        stop: set where the store has refused for `patience_s` seconds, and where enough is known: then trials that still
            run were begun early, and are stopped.
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
        self._over: list[str] = []

    def __getstate__(self) -> Row:
        return {}  # Tune writes its searcher down

    def suggest(self, trial_id: str) -> Any:
        """What Tune is to begin, None where that is nothing now. Where nothing runs, None makes Tune ask again each second."""
        if self._stop.stopped or self._stop.away:
            return Searcher.FINISHED
        try:
            self._take_in()
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
            told = self._config_of(found)
            if (row := self._refused_row(told)) is None:
                self._names[trial_id] = found.trial.trial_id
                return told
            self._chooser.ended(row)

    def on_trial_complete(self, trial_id: str, result: Row | None = None, error: bool = False) -> None:
        """Only notes it: what became of a trial is known once Tune's callbacks have heard of it as well."""
        if (name := self._names.pop(trial_id, None)) is not None:
            self._over.append(name)

    def _take_in(self) -> None:
        while self._over:
            row = self._row_of(self._over[0])
            name = self._over.pop(0)
            if row is None:
                self._chooser.lost(name)
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
        """Nothing: who starts again reads the rows."""
