"""`--on_oom shrink`: a trial that ran out of accelerator memory, or would, trains with half the micro-batch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sweep.space import Trial
from sweep.store.store import Row

MICRO, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
EVALUATION = "per_device_eval_batch_size"
DEFAULTS = {MICRO: 8, ACCUMULATION: 1, EVALUATION: 8}  # the trainer's


@dataclass(frozen=True)
class Attempted:
    """A trial as it will be run: its settings may differ from those that define its id."""

    trial: Trial
    changes: dict[str, int]
    predicted_bytes: int | None = None  # its peak of max_memory_allocated

    @property
    def as_run(self) -> Trial:
        return replace(self.trial, settings=self.settings)

    @property
    def settings(self) -> Row:
        return {**self.trial.settings, **self.changes}

    @property
    def columns(self) -> Row:
        known = {"micro_batch": self.changes.get(MICRO), "predicted_peak_memory_bytes": self.predicted_bytes}
        return {**self.trial.columns(), **known}


def as_planned(trials: Sequence[Trial]) -> list[Attempted]:
    return [Attempted(trial, {}) for trial in trials]


def shrunk(trial: Trial) -> Attempted | None:
    """Half the micro-batch and twice the accumulation, so the batch of a step stays the same; None if it cannot be halved."""
    micro, accumulation, evaluated = (trial.settings.get(key) or default for key, default in DEFAULTS.items())
    if micro % 2:
        return None
    # It may have been an evaluation between steps that ran out of memory.
    return Attempted(trial, {MICRO: micro // 2, ACCUMULATION: 2 * accumulation, EVALUATION: max(1, evaluated // 2)})


def can_shrink(trial: Trial, row: Row | None, endings: Collection[str] = ("oom",)) -> bool:
    """Whether a trial ended in one of `endings` during training, was not shrunk yet, and can be.

    If its row has a loss, training succeeded: then the evaluation after it ran out of memory, even with one example at a time.
    """
    if row is None or row["status"] not in endings or row["micro_batch"] is not None or row["train_loss"] is not None:
        return False
    return shrunk(trial) is not None
