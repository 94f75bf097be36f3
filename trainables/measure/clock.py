"""Times phases of a training, synchronizing with the device only at their boundaries."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sweep.contract.measurer import Phase


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Times consecutive phases after `before` steps, and logs as each phase says.

    A phase ends where the next step begins, so that it includes its last log: one more step than all phases have must be
    trained. The callback must come after the trainer's own, whose decision to log it replaces.

    Args:
        wait: synchronizes with the device.
    """

    def __init__(self, before: int, phases: Sequence[Phase], wait: Any = lambda: None, now: Any = time.perf_counter):
        ends = list(itertools.accumulate((phase.steps for phase in phases), initial=before))
        self._bounds, self._phases = {step: place for place, step in enumerate(ends)}, list(phases)
        self._wait, self._now = wait, now
        self._times: list[float] = []

    @property
    def seconds(self) -> list[float]:
        """Seconds of each phase that has ended."""
        return [later - earlier for earlier, later in itertools.pairwise(self._times)]

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step in self._bounds:
            self._wait()
            self._times.append(self._now())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        place = len(self._times) - 1
        if 0 <= place < len(self._phases):
            control.should_log = state.global_step % self._phases[place].log_every == 0
