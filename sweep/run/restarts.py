"""Limits how often Ray Tune restarts a trial whose process died to what the user set, whatever else Tune counts."""

from collections import Counter
from typing import Any

from sweep.run import ray_internals


class Restarts:
    """Sets how often Tune restarts each trial.

    A reused process that is not clean ends itself, which Tune counts as a failure. It does so before the trial's first
    result, which comes as soon as the attempt is claimed: the end of a reused process before then is not counted.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._processes: set[int] = set()
        self._unproven: set[str] = set()  # trials in a reused process that have had no result yet
        self._excused: Counter[str] = Counter()

    def started(self, trial: Any) -> None:
        process = ray_internals.process_of(trial)
        if process in self._processes:
            self._unproven.add(trial.trial_id)
        self._processes.add(process)
        self._allow(trial)

    def heard(self, trial: Any) -> None:
        if trial.trial_id in self._unproven:
            self._unproven.discard(trial.trial_id)
            self._allow(trial)

    def restarted(self, trial: Any) -> None:
        if trial.trial_id in self._unproven:
            self._unproven.discard(trial.trial_id)
            self._excused[trial.trial_id] += 1

    def _allow(self, trial: Any) -> None:
        count = self._allowed + self._excused[trial.trial_id] + (trial.trial_id in self._unproven)
        ray_internals.allow_failures(trial, count)
