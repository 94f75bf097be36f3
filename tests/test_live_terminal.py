"""The live table on a terminal: it stays in its place, and is drawn as often as a clock says, however much is reported."""

import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from sweep.live import layout, table
from sweep.live.layout import Column
from sweep.live.state import LiveTrial
from sweep.run import progress
from sweep.run.progress import Progress
from sweep.space import Trial

LINES, COLUMNS = 24, 80


class Screen(io.StringIO):
    """A terminal that knows in which of its lines the cursor is, and whether it has scrolled."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.scrolled, self.text = 0, False, ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        for up, end in re.findall(r"\x1b\[(\d+)A|(\n)", text):
            self.line += 1 if end else -int(up)
            assert self.line >= 0, "above the first line"
            self.scrolled |= self.line >= LINES
        return len(text)


@contextmanager
def on_screen(count: int) -> Iterator[tuple[Progress, Screen]]:
    """A sweep of so many trials on a terminal; a test refreshes it."""
    screen = Screen()
    trials = [Trial(str(place), 8, 16.0, place, {"learning_rate": 1e-3}, {}, "") for place in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "JPY_PARENT_PID", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", "LINES": str(LINES), "COLUMNS": str(COLUMNS)}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stderr", screen)
        patch.setattr(progress, "REFRESHES_PER_S", 0.001)
        with Progress(trials, {}) as shown:
            yield shown, screen


def test_a_table_of_any_length_stays_in_its_place() -> None:
    with on_screen(64) as (shown, screen):
        for place in range(40):
            shown.started(str(place))
            shown.row(str(place), {"step": 1, "loss": 2.5, "total_steps": 7509})
            if place % 3 == 0:
                shown.ended(str(place), "completed")
            shown._live.refresh()
        assert not screen.scrolled and screen.line == LINES - 2
        assert screen.text.count("rank  seed") == 40


def test_what_is_printed_meanwhile_goes_above_the_table() -> None:
    with on_screen(2) as (shown, screen):
        shown._live.refresh()
        print("a warning", file=sys.stderr)
    assert 0 < screen.text.index("a warning") < screen.text.rindex("rank  seed")


def test_what_is_reported_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[LiveTrial] = []

    def row(trial: LiveTrial, columns: Sequence[tuple[Column, int]]) -> str:
        drawn.append(trial)
        return layout.row(trial, columns)

    monkeypatch.setattr(table, "row", row)
    with on_screen(64) as (shown, _):
        for step in range(1, 20):
            for place in range(64):
                shown.row(str(place), {"step": step, "loss": 2.5, "total_steps": 7509})
        assert drawn == []
        shown._live.refresh()
        assert 0 < len(drawn) < LINES, "what has no line costs nothing"


def test_the_table_is_drawn_twice_a_second_at_most() -> None:
    assert progress.REFRESHES_PER_S <= 2
    with on_screen(1) as (shown, _):
        assert shown._live.refresh_per_second == progress.REFRESHES_PER_S


def test_no_line_is_printed_beside_the_table() -> None:
    with on_screen(2) as (shown, screen):
        shown.started("0")
        shown.tick()
        shown.ended("0", "failed")
        assert "0: started" not in screen.text
    assert "1 of 2 trials done (1 failed)" in screen.text
