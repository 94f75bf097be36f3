"""Columns in a given width, and which trials have a line where there is not one for each. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from sweep.live.state import LiveTrial

GAP = "  "
ALWAYS = 0


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        least, most: characters that it is wide.
        cell: a trial's text, given the width that the column has got.
        left_out: of columns that do not fit, those with the highest number are left out first; ALWAYS: never.
    """

    name: str
    least: int
    most: int
    cell: Callable[[LiveTrial, int], str]
    right: bool = True
    left_out: int = ALWAYS


def fitted(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns for which there is room, with their widths. What their least widths leave goes to the first that can use it."""
    kept = list(columns)
    while _total(kept) > width and (first := max(kept, key=lambda one: one.left_out)).left_out != ALWAYS:
        kept.remove(first)
    spare = max(0, width - _total(kept))
    found = []
    for one in kept:
        more = min(spare, one.most - one.least)
        spare -= more
        found.append((one, one.least + more))
    return found


def _total(columns: Sequence[Column]) -> int:
    return sum(one.least for one in columns) + len(GAP) * (len(columns) - 1)


def heading(columns: Sequence[tuple[Column, int]]) -> str:
    return GAP.join(_set(column.name, wide, column.right) for column, wide in columns).rstrip()


def row(trial: LiveTrial, columns: Sequence[tuple[Column, int]]) -> str:
    return GAP.join(_set(column.cell(trial, wide), wide, column.right) for column, wide in columns).rstrip()


def _set(text: str, width: int, right: bool) -> str:
    """The text in exactly so many characters of the terminal."""
    text = cut(text, width)
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def cut(text: str, width: int) -> str:
    """The text in at most so many characters of the terminal."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def wrapped(parts: Sequence[str], width: int, between: str = " · ") -> list[str]:
    """The parts on as few lines as there can be, each whole."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def chosen(trials: Sequence[LiveTrial], room: int) -> tuple[list[LiveTrial], list[LiveTrial]]:
    """The trials that have a line, and the others, which have one together.

    All in their order where there is room; otherwise those that run, then those that ended last, then those that wait.
    """
    if len(trials) <= room:
        return list(trials), []
    over = sorted((one for one in trials if one.over), key=lambda one: -1.0 if one.ended is None else one.ended)
    waiting = [one for one in trials if one.status == "waiting"]
    order = [*(one for one in trials if one.running), *reversed(over), *waiting]
    return order[: max(0, room - 1)], order[max(0, room - 1) :]
