"""Measures what training takes: host memory, device memory, and throughput.

Reading never synchronizes with the device: the allocator's counters are kept on the host.
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
    """Resets the peak of resident memory to what is resident now; returns whether the system supports that.

    Linux does if /proc/self/clear_refs is writable. Elsewhere, a reused process keeps the peak of its earlier trials.
    """
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since the last reset, in bytes; without /proc, since its start.

    Takes 17 µs. getrusage would take 0.7, but counts what the process was before its exec: in a Ray worker, the raylet
    with the object store's shared memory.
    """
    try:
        found = _PEAK.search((PROC / "status").read_bytes())
    except OSError:
        found = None
    if found:
        return int(found.group(1)) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, other systems KiB


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
        cuda: torch.cuda, or an object with its interface; None if the trial runs elsewhere: then all values are None.
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
        """Resets all peaks to what is allocated now. To be called after the model is loaded."""
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
        """From here until `end_evaluation`, peaks count as evaluation's."""
        if not self._evaluating:
            self.read()
            self._restart()
            self._evaluating = True

    def end_evaluation(self) -> None:
        """Records evaluation's peak and returns to training's. Does nothing outside an evaluation."""
        if self._evaluating:
            self._evaluating = False
            if stats := self._stats():
                self._evaluation.raise_to(stats)
            self._restart()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Wraps an evaluation, so that neither peak masks the other."""
        self.begin_evaluation()
        try:
            yield
        finally:
            self.end_evaluation()

    def _stats(self) -> dict[str, Any]:
        # Reads the allocator once: torch.cuda.memory_allocated and its siblings each build a table of 80 numbers.
        return self._cuda.memory_stats_as_nested_dict() if self._cuda else {}

    def _restart(self) -> None:
        if self._stats():
            self._cuda.reset_peak_memory_stats()


def step_columns(memory: Memory) -> dict[str, Any]:
    """What is measured after each step, by column: a metric that is added here and declared in STEPS is in the step's row."""
    return {**memory.read(), "peak_rss_bytes": peak_rss_bytes()}


@dataclass
class Work:
    """What one or more steps took and did: seconds; examples; positions, with padding; tokens, without padding."""

    seconds: float = 0.0
    samples: int = 0
    tokens: int = 0
    positions: int = 0

    def add(self, other: "Work") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass
class Counted:
    """What was trained: the part that counts toward the rates, its optimizer steps, and everything."""

    timed: Work = field(default_factory=Work)
    timed_steps: int = 0
    everything: Work = field(default_factory=Work)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Counted":
        """The reverse of `dataclasses.asdict`."""
        return cls(Work(**content["timed"]), content["timed_steps"], Work(**content["everything"]))


@dataclass
class Throughput:
    """Rates of training alone: the caller of `step` excludes evaluation and saving from the seconds.

    The first `warmup_steps` (a tenth of the steps if there are fewer than ten times as many) count toward the padding
    but not the rates: in them kernels are compiled, memory is first allocated and data workers start. A resumed
    training warms up again: `before` is what earlier attempts counted, up to the checkpoint.
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
        """The rates of everything that was counted."""
        return rates(self.counted())

    def counted(self) -> Counted:
        """This attempt's steps so far, added to those of earlier ones."""
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
    """Columns of the trial's row; None if nothing was counted.

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
