"""What a person sees while a sweep runs: one live table on a terminal, plain lines at intervals elsewhere; on stderr."""

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sweep.common.formatting import clock, size
from sweep.policies.asked import Wanted
from sweep.space import Trial

INTERVAL = 15.0  # seconds between plain lines
NEWEST = 6  # decisions below the table: as many as leave room for it
LASTS = 2.0  # seconds after which a phase is worth a plain line of its own
MARKS = {
    "waiting": "dim",
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "interrupted": "yellow",
    "rejected": "yellow",
}


@dataclass
class Line:
    """A trial as the table shows it."""

    rank: str
    seed: int
    axes: str
    status: str = "waiting"
    step: int = 0
    total: int = 0
    loss: float | None = None
    steps_per_second: float | None = None
    memory_bytes: int | None = None
    rate_from: tuple[float, int] | None = None
    phase: str = ""  # what it does while it does not step
    phase_from: float = 0.0
    rows_left: int | None = None

    def enters(self, phase: str, rows_left: int | None, now: float) -> None:
        """Records what it does before its first step or after its last."""
        self.status = "running"
        if phase != self.phase:
            self.phase, self.phase_from = phase, now
        self.rows_left = rows_left

    def heard(self, result: Mapping[str, Any], now: float) -> None:
        """Records a result. The rate counts from the first result to the newest step, so that loading does not slow it."""
        self.status, self.phase, before = "running", "", self.step
        self.step = int(result.get("step", self.step))
        self.total = int(result.get("total_steps", self.total))
        self.loss = result.get("loss", self.loss)
        self.memory_bytes = result.get("peak_memory_allocated_bytes") or result.get("peak_rss_bytes", self.memory_bytes)
        if self.rate_from is None:
            self.rate_from = (now, self.step)
        elif now > self.rate_from[0] and self.step > before:
            self.steps_per_second = (self.step - self.rate_from[1]) / (now - self.rate_from[0])

    @property
    def doing(self) -> str:
        """What it does now: empty while it trains, waits or has ended."""
        if self.status != "running" or not self.phase:
            return ""
        return self.phase + ("" if self.rows_left is None else f", {self.rows_left} rows left")

    @property
    def left(self) -> float | None:
        """Seconds until its last step, at the rate so far."""
        if self.status != "running" or self.phase or not self.steps_per_second or not self.total:
            return None
        return (self.total - self.step) / self.steps_per_second


class Progress:
    """Shows the runner's events. To be entered around a run."""

    def __init__(
        self,
        trials: Sequence[Trial],
        ended: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        chooses: bool = False,
    ) -> None:
        """`chooses`: the trials are those that there may be; they are shown once they are wanted or begun."""
        self._may_be = {trial.trial_id: trial for trial in trials}
        shown = [trial for trial in trials if not chooses or trial.trial_id in ended]
        self._lines = {trial.trial_id: _line(trial, ended.get(trial.trial_id)) for trial in shown}
        self._chooses, self._told = chooses, 0
        self._wanted: Wanted | None = None
        self._clock = clock
        self._began = self._ticked = self._said = clock()
        self._live: Any = None
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if console.is_terminal:
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, redirect_stdout=False)
            self._live.__enter__()
        else:
            count = f"at most {len(self._may_be)}" if self._chooses else len(self._lines)
            print(f"{count} trials; {self._counts() or 'none begun'}", file=sys.stderr, flush=True)
            self._ticker = threading.Thread(target=self._tick_on, name="progress", daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()

    # --- what the runner tells -----------------------------------------------------------------------------------

    def started(self, trial_id: str) -> None:
        self._line_of(trial_id).enters("starting", None, -math.inf)  # said by the line that follows
        self._say(f"{trial_id}: started")

    def phase(self, trial_id: str, phase: str, rows_left: int | None) -> None:
        self._lines[trial_id].enters(phase, rows_left, self._clock())

    def row(self, trial_id: str, result: Mapping[str, Any]) -> None:
        self._lines[trial_id].heard(result, self._clock())

    def ended(self, trial_id: str, status: str) -> None:
        line = self._line_of(trial_id)
        line.status = status
        self._say(f"{trial_id}: {status}{f', {_sentence(line)}' if line.step else ''}; {self._counts()}")

    def decided(self, wanted: Wanted) -> None:
        """Takes in what the policy decided, and says what is new of it."""
        new, self._told, self._wanted = wanted.decisions[self._told :], len(wanted.decisions), wanted
        if self._chooses:
            for name in wanted.asked:
                self._line_of(name)
            for one in new:
                self._say(one.text)

    def _line_of(self, trial_id: str) -> Line:
        if trial_id not in self._lines:
            self._lines[trial_id] = _line(self._may_be[trial_id], None)
        return self._lines[trial_id]

    # --- how it looks --------------------------------------------------------------------------------------------

    def _tick_on(self) -> None:
        while not self._over.wait(1.0):
            self.tick()

    def tick(self) -> None:
        """Prints the plain lines that are due: of every running trial at intervals, and of a trial whose phase takes long."""
        now, before = self._clock(), self._ticked
        self._ticked = now
        if all_due := now - self._said >= INTERVAL:
            self._said = now
        for name, line in list(self._lines.items()):  # another thread adds to them
            lasts = bool(line.doing) and before - line.phase_from < LASTS <= now - line.phase_from
            if line.status == "running" and (all_due or lasts):
                self._say(f"{name}: {_sentence(line)}")

    def _say(self, text: str) -> None:
        if self._live is None:
            print(f"[{self._clock() - self._began:5.0f} s] {text}", file=sys.stderr, flush=True)

    def _counts(self) -> str:
        count: dict[str, int] = {}
        for line in list(self._lines.values()):
            count[line.status] = count.get(line.status, 0) + 1
        most = [f"at most {self._wanted.at_most}"] if self._chooses and self._wanted else []
        return ", ".join([*(f"{number} {status}" for status, number in count.items()), *most])

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        on_gpu = any(line.memory_bytes for line in list(self._lines.values()))
        title = f"{self._counts()} · {clock(self._clock() - self._began)}"
        table = Table(title=title, title_justify="left", box=None)
        for name in (
            "rank",
            "seed",
            "axes",
            "status",
            "step",
            "loss",
            "steps/s",
            "peak memory" if on_gpu else "",
            "left",
        ):
            table.add_column(name, justify="left" if name in ("rank", "axes", "status") else "right", no_wrap=True)
        for line in self._shown():
            table.add_row(*_cells(line), style=MARKS.get(line.status, "red"))
        newest = self._newest()
        return table if newest is None else Group(table, Text(newest))

    def _newest(self) -> str | None:
        """The last decisions: who is in the race, who left it, what is tried next."""
        if not self._chooses or self._wanted is None:
            return None
        return "\n".join(one.text for one in self._wanted.decisions[-NEWEST:])

    def _shown(self) -> list[Line]:
        """At most as many lines as fit on the screen, running trials first."""
        lines = list(self._lines.values())
        if len(lines) <= 30:
            return lines
        order = {"running": 0, "waiting": 2}
        return sorted(lines, key=lambda line: order.get(line.status, 1))[:30]


def _line(trial: Trial, ended: str | None) -> Line:
    axes = " ".join(f"{key}={value}" for key, value in trial.axis_columns().items())
    return Line(str(trial.rank), trial.seed, axes, ended or "waiting")


def _cells(line: Line) -> list[str]:
    return [
        line.rank,
        str(line.seed),
        line.axes,
        line.doing or line.status,
        f"{line.step}/{line.total}" if line.total else str(line.step or ""),
        "" if line.loss is None else f"{line.loss:.4f}",
        "" if line.steps_per_second is None else f"{line.steps_per_second:.2f}",
        "" if line.memory_bytes is None else size(line.memory_bytes),
        "" if line.left is None else clock(line.left),
    ]


def _sentence(line: Line) -> str:
    parts = [f"step {line.step}{f' of {line.total}' if line.total else ''}"] if line.step or not line.doing else []
    parts += [] if line.loss is None else [f"loss {line.loss:.4f}"]
    parts += [line.doing] if line.doing else []
    parts += [] if line.doing or line.steps_per_second is None else [f"{line.steps_per_second:.2f} steps/s"]
    parts += [] if line.left is None else [f"{clock(line.left)} left"]
    return ", ".join(parts)
