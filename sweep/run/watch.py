"""Handles Ray Tune's events on the driver while trials run, and stops all trials."""

import contextlib
import signal
import threading
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial as TuneTrialState
from ray.tune.logger import JsonLoggerCallback

from sweep.config.sweep_config import SweepConfig
from sweep.errors import StoreUnreachable
from sweep.policies.policy import Wanted
from sweep.run import ray_internals
from sweep.run.aftermath import Seen, note_pruned
from sweep.run.restarts import Restarts
from sweep.space import Trial
from sweep.store.store import Row, Store


class Listener(Protocol):
    """Receives trials' events, in the driver's thread."""

    def started(self, trial_id: str) -> None: ...
    def phase(self, trial_id: str, phase: str, rows_left: int | None) -> None: ...
    def row(self, trial_id: str, result: Mapping[str, Any]) -> None: ...
    def ended(self, trial_id: str, status: str) -> None: ...
    def decided(self, wanted: Wanted) -> None: ...


def name_of(trial: TuneTrialState) -> str:
    return str(trial.config["trial"]["trial_id"])


def compared(config: SweepConfig) -> str:
    """The metric that a scheduler compares."""
    return "eval_loss" if config.settings.get("eval_strategy", "no") != "no" else "loss"


class ResultLog(JsonLoggerCallback):  # type: ignore[misc]  # ray has no types
    """Tune's JSON log, without results that only report an attempt's start or a trial's phase."""

    def log_trial_result(self, iteration: int, trial: TuneTrialState, result: Row) -> None:
        if _says_something(result):
            super().log_trial_result(iteration, trial, result)


def _says_something(result: Row) -> bool:
    return "step" in result or "status" in result


class Watch(tune.Callback):  # type: ignore[misc]  # ray has no types
    """Forwards Tune's events, and records how each trial ended and why its process died."""

    def __init__(self, listener: Listener, trials: Sequence[Trial], store: Store, config: SweepConfig) -> None:
        self._listener = (
            listener  # not part of the state: Tune pickles its callbacks, and a live display cannot be pickled
        )
        self._trials, self._store, self._metric = trials, store, compared(config)
        self._restarts = Restarts(config.max_failures)
        self._may_be_lost: Counter[str] = Counter()
        self._allowed = config.max_failures
        self.lost: set[str] = set()  # trials whose process died before they started: they are requested again
        self.stopper = Stopper()
        self.seen = Seen()

    def __getstate__(self) -> Row:
        return {key: value for key, value in vars(self).items() if key not in ("_listener", "_trials")}

    def rejected(self, trial_id: str) -> None:
        self._listener.ended(trial_id, "rejected")

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        self._restarts.started(trial)
        note_pruned(self._trials, self._store, self.seen)
        self.seen.unfinished.setdefault(name_of(trial), {})
        self._listener.started(name_of(trial))

    def on_trial_result(self, iteration: int, trials: Any, trial: TuneTrialState, result: Row, **info: Any) -> None:
        self._restarts.heard(trial)
        if "phase" in result:
            self._listener.phase(name_of(trial), result["phase"], result.get("rows_left"))
        if _says_something(result):
            self.seen.unfinished[name_of(trial)] = result
            self._listener.row(name_of(trial), result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        last = self.seen.unfinished.pop(name_of(trial), {})
        if "status" not in last:  # then the scheduler ended it: Tune does not call this when all trials are stopped
            found = {"pruned_step": last.get("step"), "pruned_value": last.get(self._metric)}
            self.seen.pruned[name_of(trial)] = {**found, "pruned_metric": self._metric}
        ray_internals.forget_running_means(trial)
        self._listener.ended(name_of(trial), last.get("status", "pruned"))

    def on_trial_recover(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        self._restarts.restarted(trial)

    def _never_began(self, trial_id: str) -> bool:
        """Whether a trial's process died before the trial started, which Tune does not retry. Nothing was measured yet.

        True at most as often as a trial is restarted whose process dies later.
        """
        if trial_id in self.seen.unfinished or self.stopper.away or self._may_be_lost[trial_id] >= self._allowed:
            return False
        self._may_be_lost[trial_id] += 1
        return True

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        text = ray_internals.last_error(trial)
        self.stopper.away |= StoreUnreachable.__name__ in text
        if self._never_began(name_of(trial)):
            self.lost.add(name_of(trial))
            return
        self.seen.died(name_of(trial), text)
        self._listener.ended(name_of(trial), "failed")


class Stopper(tune.Stopper):  # type: ignore[misc]  # ray has no types
    """Ends all trials once asked to, once the store has stayed unreachable, or once enough is known."""

    stopped = away = enough = False

    def __call__(self, trial_id: str, result: Row) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stopped or self.away or self.enough


@contextlib.contextmanager
def interruptible() -> Iterator[Stopper]:
    """Ctrl-C lets trials end at their next step and leave rows; a second one ends the driver at once."""
    stopper = Stopper()

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        if stopper.stopped:
            raise KeyboardInterrupt
        stopper.stopped = True

    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
