"""Passes a trainer's logs to experiment trackers: ours (sweep.trackers.trackers) and the trainer's own integrations."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from sweep.common.formatting import with_class
from sweep.contract.trainable import Context
from sweep.trackers.trackers import MANAGED, requested


class Notes(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Passes on what the trainer logs for a step, which is more than a step's row has. Comes before the callback that makes rows."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for entry in state.log_history:  # of the steps before a checkpoint
            self._context.note(entry["step"], entry)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        if "train_runtime" not in logs:  # the trainer's summary; a trial has its own
            self._context.note(state.global_step, logs)


class Integrations(TrainerCallback):  # type: ignore[misc]
    """The trainer's own integrations: one that raises is dropped, and training continues."""

    def __init__(self, names: Sequence[str]) -> None:
        self._callbacks: dict[str, Any] = {}
        for name in names:
            with self._dropped_if_it_raises(name):
                (kind,) = get_reporting_integration_callbacks([name])
                self._callbacks[name] = kind()

    @contextmanager
    def _dropped_if_it_raises(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            print(f"{name} failed, and receives nothing more of this trial: {with_class(error)}", file=sys.stderr)
            self._callbacks.pop(name, None)

    def hear(self, event: str, *args: Any, **kwargs: Any) -> None:
        for name, callback in list(self._callbacks.items()):
            with self._dropped_if_it_raises(name):
                getattr(callback, event)(*args, **kwargs)


def _forwarding(event: str) -> Callable[..., None]:
    def forward(self: Integrations, *args: Any, **kwargs: Any) -> None:
        self.hear(event, *args, **kwargs)

    return forward


for _event in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
    setattr(Integrations, _event, _forwarding(_event))


def others(context: Context) -> list[TrainerCallback]:
    """The requested integrations that we do not manage ourselves."""
    names = [name for name in requested(context.settings.get("report_to")) if name not in MANAGED]
    return [Integrations(names)] if names else []
