"""`--on_oom shrink`: a trial that ran out of accelerator memory trains once more, with less in memory at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.space import Trial
from sweep.store.store import Row, Store

MICRO, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
EVALUATION = "per_device_eval_batch_size"
DEFAULTS = {MICRO: 8, ACCUMULATION: 1, EVALUATION: 8}  # the trainer's


@dataclass(frozen=True)
class Attempted:
    """A trial as it is to be run: its settings may be others than those that it is known by."""

    trial: Trial
    changes: dict[str, int]

    @property
    def settings(self) -> Row:
        return {**self.trial.settings, **self.changes}

    @property
    def columns(self) -> Row:
        return {**self.trial.columns(), "micro_batch": self.changes.get(MICRO)}


def as_planned(trials: Sequence[Trial]) -> list[Attempted]:
    return [Attempted(trial, {}) for trial in trials]


def shrunk(trial: Trial) -> Attempted | None:
    """Half the micro-batch and twice the accumulation, so that a step's batch is the same; None where it cannot be halved."""
    micro, accumulation, evaluated = (trial.settings.get(key) or default for key, default in DEFAULTS.items())
    if micro % 2:
        return None
    # It may have been an evaluation between the steps that ran out.
    return Attempted(trial, {MICRO: micro // 2, ACCUMULATION: 2 * accumulation, EVALUATION: max(1, evaluated // 2)})


def can_shrink(trial: Trial, row: Row | None) -> bool:
    """Whether a trial's row says that its memory ran out while it trained, and it was not shrunk yet.

    One that has a loss has trained: what ran out is the evaluation after it, which was tried with one example at a time.
    """
    if row is None or row["status"] != "oom" or row["micro_batch"] is not None or row["train_loss"] is not None:
        return False
    return shrunk(trial) is not None


def to_shrink(trials: Sequence[Trial], store: Store) -> list[Attempted]:
    """Those of the trials that are to train once more."""
    have = store.trial_names()
    wanted = [trial for trial in trials if trial.trial_id in have and can_shrink(trial, store.trial(trial.trial_id))]
    return [again for trial in wanted if (again := shrunk(trial))]
