"""What a trial's training takes: host memory, device memory, and how much it trains in a second.

Reading waits for nothing on the device: the allocator's counters are kept on the host.
"""

import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PROC = Path("/proc/self")
_PEAK = re.compile(rb"VmHWM:\s+(\d+) kB")


def reset_peak_rss() -> bool:
    """Makes the peak of resident memory start anew from what is resident now; whether the system can do that.

    Linux can, where /proc/self/clear_refs may be written. Elsewhere a process that is used again keeps the peak of the
    trials before.
    """
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since the last reset, in bytes; without /proc, since its start.

    17 µs. getrusage would take 0.7, but counts what the process was before its exec: in a Ray worker, the raylet with
    the object store's shared memory.
    """
    try:
        found = _PEAK.search((PROC / "status").read_bytes())
    except OSError:
        found = None
    if found:
        return int(found.group(1)) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others KiB


@dataclass
class Peaks:
    """Highest counts so far, in bytes."""

    allocated: int = 0
    reserved: int = 0

    def raise_to(self, stats: dict[str, Any]) -> None:
        self.allocated = max(self.allocated, stats["allocated_bytes"]["all"]["peak"])
        self.reserved = max(self.reserved, stats["reserved_bytes"]["all"]["peak"])


class Memory:
    """Memory of the current CUDA device, with the peaks of training and of evaluation kept apart.

    Args:
        cuda: torch.cuda, or what answers like it; None where the trial runs elsewhere: all values are None then.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._training, self._evaluation = Peaks(), Peaks()
        self._evaluating = False

    @classmethod
    def of(cls, device: str) -> "Memory":
        """For a trial on `device`, as torch names it: "cpu", "cuda", "cuda:0", …"""
        if not device.startswith("cuda"):
            return cls(None)
        import torch

        return cls(torch.cuda)

    def reset(self) -> None:
        """Forgets all peaks: from now on, they rise from what is allocated now. For after the model is loaded."""
        self._training, self._evaluation, self._evaluating = Peaks(), Peaks(), False
        self._restart()

    def read(self) -> dict[str, int | None]:
        """The columns of a step: bytes allocated now, and the highest of allocated and of reserved while training."""
        stats = self._stats()
        if stats and not self._evaluating:
            self._training.raise_to(stats)
        return {
            "memory_allocated_bytes": stats["allocated_bytes"]["all"]["current"] if stats else None,
            "peak_memory_allocated_bytes": self._training.allocated if stats else None,
            "peak_memory_reserved_bytes": self._training.reserved if stats else None,
        }

    @property
    def evaluation_peak_bytes(self) -> int | None:
        """Highest bytes allocated during any evaluation; None off CUDA, or before the first has ended."""
        return self._evaluation.allocated or None

    def begin_evaluation(self) -> None:
        """From now to `end_evaluation` peaks count as evaluation's."""
        if not self._evaluating:
            self.read()
            self._restart()
            self._evaluating = True

    def end_evaluation(self) -> None:
        """Notes evaluation's peak and goes on with training's. Does nothing outside an evaluation."""
        if self._evaluating:
            self._evaluating = False
            if stats := self._stats():
                self._evaluation.raise_to(stats)
            self._restart()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Around an evaluation, so that neither peak masks the other."""
        self.begin_evaluation()
        try:
            yield
        finally:
            self.end_evaluation()

    def _stats(self) -> dict[str, Any]:
        # One look at the allocator: torch.cuda.memory_allocated and its siblings build a table of 80 numbers each.
        return self._cuda.memory_stats_as_nested_dict() if self._cuda else {}

    def _restart(self) -> None:
        if self._stats():
            self._cuda.reset_peak_memory_stats()


def step_columns(memory: Memory) -> dict[str, Any]:
    """What is measured after each step, by column: what is added here, and declared in STEPS, is in the step's row."""
    return {**memory.read(), "peak_rss_bytes": peak_rss_bytes()}


@dataclass
class Work:
    """What one or more steps took and did: seconds; examples; positions, padding included; tokens, without it."""

    seconds: float = 0.0
    samples: int = 0
    tokens: int = 0
    positions: int = 0

    def add(self, other: "Work") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass
class Counted:
    """What was trained: the part that counts for the rates, its optimizer steps, and all of it."""

    timed: Work = field(default_factory=Work)
    timed_steps: int = 0
    everything: Work = field(default_factory=Work)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Counted":
        """What `dataclasses.asdict` made a mapping of."""
        return cls(Work(**content["timed"]), content["timed_steps"], Work(**content["everything"]))


@dataclass
class Throughput:
    """Training per second of training alone: whoever calls `step` leaves evaluation and saving out of the seconds.

    The first `warmup_steps` (a tenth of the steps where there are fewer than ten times as many) count for the padding
    but not for the rates: in them kernels are compiled, memory is first allocated and data workers start. A resumed
    training warms up again: `before` is what attempts before this one counted, up to the checkpoint.
    """

    warmup_steps: int = 5
    before: Counted = field(default_factory=Counted)
    _first: list[Work] = field(default_factory=list)
    _rest: Work = field(default_factory=Work)
    _rest_steps: int = 0

    def step(self, work: Work) -> None:
        """Counts an optimizer step."""
        if len(self._first) < self.warmup_steps:
            self._first.append(work)
        else:
            self._rest.add(work)
            self._rest_steps += 1

    def result(self) -> dict[str, float | None]:
        """The rates of all that was counted."""
        return rates(self.counted())

    def counted(self) -> Counted:
        """This attempt's steps so far, on top of those before."""
        steps = len(self._first) + self._rest_steps
        skipped = min(len(self._first), steps // 10)
        timed, everything = self._sum(self._first[skipped:]), self._sum(self._first)
        timed.add(self.before.timed)
        everything.add(self.before.everything)
        return Counted(timed, self.before.timed_steps + steps - skipped, everything)

    def _sum(self, works: list[Work]) -> Work:
        total = Work()
        for work in [*works, self._rest]:
            total.add(work)
        return total


def rates(counted: Counted) -> dict[str, float | None]:
    """Columns of the trial's row; None where nothing was counted.

    Rates are per second; padding_share is the share of the positions that held no token, 0 to 1.
    """
    timed, everything = counted.timed, counted.everything
    return {
        "samples_per_second": _ratio(timed.samples, timed.seconds),
        "steps_per_second": _ratio(counted.timed_steps, timed.seconds),
        "tokens_per_second": _ratio(timed.tokens, timed.seconds),
        "padding_share": 1 - everything.tokens / everything.positions if everything.positions else None,
    }


def _ratio(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None
