"""The state of a sweep that runs, as far as it is shown: what each trial said last, and what they run on."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweep.live.curve import Curve


@dataclass
class LiveTrial:
    """What a trial said last. Times are in seconds, from any zero.

    Attributes:
        axes: the values of the grid's further axes.
        status: waiting, running, or how it ended: the status of its row.
        step, total: the newest step and the last one; 0 where that is not known.
        loss: the training loss of the newest step that has one.
        memory_bytes: the device's peak, or the process's where trials have no GPU.
        phase: what it does while it does not step, since `phase_from`.
        rows_left: how many rows that takes yet.
        first: the first step since it was started; 0 before that.
        started, ended: when it was started last, and ended; None before that.
        rate_from: when the first result since then came, and its newest step.
    """

    rank: str
    seed: int
    axes: Mapping[str, str] = field(default_factory=dict)
    status: str = "waiting"
    step: int = 0
    total: int = 0
    loss: float | None = None
    curve: Curve = field(default_factory=Curve)
    memory_bytes: int | None = None
    steps_per_second: float | None = None
    phase: str = ""
    phase_from: float = 0.0
    rows_left: int | None = None
    first: int = 0
    started: float | None = None
    ended: float | None = None
    rate_from: tuple[float, int] | None = None

    def starts(self, now: float) -> None:
        """It starts, or starts again: the next step may be one that it has had, and rates count from there."""
        self.status, self.started, self.ended = "running", now, None
        self.step = self.first = 0
        self.rate_from = self.steps_per_second = None
        self.enters("starting", None, -math.inf)  # what the trial itself says of its phase begins later

    def enters(self, phase: str, rows_left: int | None, now: float) -> None:
        """Records what it does before its first step or after its last."""
        self.status = "running"
        if phase != self.phase:
            self.phase, self.phase_from = phase, now
        self.rows_left = rows_left

    def heard(self, result: Mapping[str, Any], now: float) -> None:
        """Records a result: the newest row, with the `step` and `loss` of earlier ones under `between`.

        The rate counts from the first result to the newest step, so that loading does not slow it.
        """
        self.status, self.phase, before = "running", "", self.step
        self.total = int(result.get("total_steps", self.total))
        self._takes(result)
        self.memory_bytes = result.get("peak_memory_allocated_bytes") or result.get("peak_rss_bytes", self.memory_bytes)
        if self.rate_from is None:
            self.rate_from = (now, self.step)
        elif now > self.rate_from[0] and self.step > before:
            self.steps_per_second = (self.step - self.rate_from[1]) / (now - self.rate_from[0])

    def _takes(self, result: Mapping[str, Any]) -> None:
        """The last result is the row before once more: only later steps are new."""
        between = result.get("between", {"step": [], "loss": []})
        steps = [*between["step"], result.get("step")]
        losses = [*between["loss"], result.get("loss")]
        for step, loss in zip(steps, losses, strict=True):
            if step is None or step <= self.step:
                continue
            self.step = int(step)
            self.first = self.first or self.step
            if loss is not None:
                self.loss = loss
                self.curve.add(self.step, loss)

    def ends(self, status: str, now: float) -> None:
        self.status, self.ended = status, now

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def over(self) -> bool:
        return self.status not in ("waiting", "running")

    @property
    def doing(self) -> str:
        """What it does now: empty while it trains, waits or has ended."""
        if not self.running or not self.phase:
            return ""
        return self.phase + ("" if self.rows_left is None else f", {self.rows_left} rows left")


@dataclass(frozen=True)
class Devices:
    """What trials run on.

    Attributes:
        kind: GPUs, or slots where trials have none.
        count: how many there are now.
        per_trial: how many of them a trial takes.
        at_once: how many trials run at once.
    """

    kind: Literal["GPUs", "slots"]
    count: int
    per_trial: float
    at_once: int

    def busy(self, running: int) -> str:
        return f"{min(running * self.per_trial, self.count):g} of {self.count} {self.kind} busy"


@dataclass
class LiveSweep:
    """A sweep's trials, in the order in which they are to run, since `began`.

    Attributes:
        at_most: how many trials there may be in the end, where that depends on what is measured; None where these are all.
        devices: what trials run on; None while that is not known.
        decisions: who is in the race, who left it, what is tried next: in words, the newest last.
    """

    trials: dict[str, LiveTrial] = field(default_factory=dict)
    began: float = 0.0
    at_most: int | None = None
    devices: Devices | None = None
    decisions: Sequence[str] = ()


def counted(trials: Iterable[LiveTrial]) -> dict[str, int]:
    """Trials by status, in the order in which the first ones of each stand."""
    return dict(Counter(trial.status for trial in trials))
