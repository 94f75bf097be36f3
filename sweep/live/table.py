"""The live table: `table(sweep, now)` is what rich shows of a sweep, in the width and height that its console has.

sweep = LiveSweep({"a": LiveTrial("8", seed=0)})
sweep.trials["a"].starts(now=0.0)
sweep.trials["a"].heard({"step": 4, "loss": 2.5, "total_steps": 9}, now=2.0)
Console(record=True).print(table(sweep, now=2.0))
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.live.columns import columns
from sweep.live.layout import chosen, cut, fitted, heading, row, wrapped
from sweep.live.state import LiveSweep, counted
from sweep.live.words import in_words, summary

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

NEWEST = 6  # decisions, where they take no more than a quarter of the lines
STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "interrupted": "yellow",
    "rejected": "yellow",
}
FAILED = "red"  # any other ending

Styled = tuple[str, str]  # a line, and its style


def table(sweep: LiveSweep, now: float, height: int | None = None) -> "RenderableType":
    """What rich shows of a sweep at a time, in `height` lines at most; by default one less than the console has."""
    return _Table(sweep, now, height)


@dataclass(frozen=True)
class _Table:
    """Lines that were made here: of rich's own tables one of 46 trials took 26 ms."""

    sweep: LiveSweep
    now: float
    height: int | None

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.segment import Segment

        height = options.size.height - 1 if self.height is None else self.height
        for text, style in page(self.sweep, self.now, options.max_width, height):
            yield Segment(text, console.get_style(style))
            yield Segment.line()


def page(sweep: LiveSweep, now: float, width: int, height: int) -> list[Styled]:
    """The table's lines: how far the sweep is, its trials, how many others there are, and what was decided last."""
    head = wrapped(summary(sweep, now), width)
    newest = min(NEWEST, height // 4, len(sweep.decisions))
    decisions = list(sweep.decisions)[len(sweep.decisions) - newest :]
    trials = list(sweep.trials.values())  # another thread adds to them
    shown, others = chosen(trials, height - len(head) - 1 - newest)
    fit = fitted(columns(trials, shown), width)
    lines = [(text, "bold") for text in (*head, heading(fit))]
    lines += [(row(trial, fit), STYLES.get(trial.status, FAILED)) for trial in shown]
    if others:
        lines.append((f"… and {in_words(counted(others))}", "dim"))
    lines += [(text, "dim") for text in decisions]
    return [(cut(text, width), style) for text, style in lines[:height]]
