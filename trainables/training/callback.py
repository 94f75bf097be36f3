"""Turns the trainer's events into step rows, without adding a device synchronization to those that the trainer makes."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sweep.store.store import Row
from trainables.training.meters import Memory, Throughput, Work, step_columns


class StepRows(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """One row per optimizer step, with the columns of STEPS.

    The trainer has to log every step (`logging_steps=1`) and every loss as it is (`logging_nan_inf_filter=False`). A
    step ends when its loss has been read: only then has the device done what `on_step_end` merely saw enqueued. A row
    is emitted there or, if an evaluation may follow, after it. After training, `close` must be called whatever happened.
    The callback comes after those that save, so that saving does not count toward a step's time.

    Args:
        emit: takes a finished row.
        base: columns that every row has: trial_id, attempt.
        memory: reset by the caller, once the model is loaded.
        throughput: notified of every step.
        should_stop: called once per step; training ends with the step in which it returns True.
    """

    def __init__(
        self,
        emit: Callable[[Row], None],
        *,
        base: Row | None = None,
        memory: Memory,
        throughput: Throughput | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.memory = memory
        self.throughput = throughput or Throughput()
        self.diverged = False
        self._emit, self._base, self._should_stop = emit, dict(base or {}), should_stop
        self._row: Row | None = None  # waits for its evaluation
        self._hook: Any = None
        self._positions = self._samples = self._tokens_seen = 0
        self._began = self._resumed = self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since training began in this process."""
        return time.perf_counter() - self._started

    # --- the trainer's events ----------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._hook = kwargs["model"].register_forward_pre_hook(self._count, with_kwargs=True)
        if args.eval_on_start:
            self.memory.begin_evaluation()
        self._started = self._resumed = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._release()
        self.memory.end_evaluation()
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._should_stop():
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        if "loss" not in logs:  # an evaluation's log, or the trainer's summary
            return
        self._row = self._make_row(state, logs)
        if not math.isfinite(logs["loss"]):
            self.diverged = True
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False
        if control.should_evaluate:
            self.memory.begin_evaluation()
        elif args.eval_strategy != "epoch":  # otherwise this may be the epoch's last step
            self._release()
        self._resumed = time.perf_counter()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if control.should_evaluate:
            self.memory.begin_evaluation()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if (
            metrics and "eval_loss" in metrics
        ):  # otherwise one of several evaluation sets, evaluated one after the other
            self.memory.end_evaluation()
            if self._row is not None:
                self._row["eval_loss"] = metrics["eval_loss"]
            self._release()
        self._resumed = time.perf_counter()
        if self._should_stop():
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._resumed = time.perf_counter()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()

    def close(self) -> None:
        """Emits the row that is waiting for an evaluation, if any, and removes the hook from the model."""
        self._release()
        self.memory.end_evaluation()
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    # --- rows --------------------------------------------------------------------------------------------------------

    def _count(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Counts a training forward's inputs by the tensors' shapes alone: reading their values would synchronize."""
        ids = kwargs.get("input_ids")
        if not model.training or ids is None:
            return
        ends = kwargs.get("cu_seq_lens_q")  # padding-free: examples in one sequence, with these boundaries
        self._positions += ids.numel()
        self._samples += ids.shape[0] if ends is None else ends.numel() - 1

    def _make_row(self, state: TrainerState, logs: dict[str, Any]) -> Row:
        now = time.perf_counter()
        seen = int(logs.get("num_tokens", self._tokens_seen))  # since this process began, resumed or not
        tokens, self._tokens_seen = seen - self._tokens_seen, seen
        self.throughput.step(Work(now - self._resumed, self._samples, tokens, self._positions))
        self._samples = self._positions = 0
        return {
            **self._base,
            "step": state.global_step,
            "epoch": state.epoch,
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "step_time_s": now - self._began,
            "tokens": tokens,
            **step_columns(self.memory),
            "eval_loss": None,
            "timestamp": datetime.now(UTC),
        }

    def _release(self) -> None:
        row, self._row = self._row, None
        if row is not None:
            self._emit(row)
