"""The answer as a table for people, as Markdown for a pull request, as CSV and as JSON."""

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Literal

from sweep.answer.answer import Answer
from sweep.common.formatting import share
from sweep.show.cells import cells, values

Format = Literal["table", "json", "csv", "markdown"]
FORMATS: tuple[Format, ...] = ("table", "json", "csv", "markdown")
_PIPE_WIDTH = 200  # columns where there is no terminal to ask


def render(answer: Answer, format: Format = "table", *, color: bool | None = None, width: int | None = None) -> str:
    """The answer as text.

    Args:
        color: whether a table has colors; by default if standard output is a terminal.
        width: characters in a table's line; by default the terminal's.
    """
    if format == "json":
        return json.dumps(finite(answer.as_dict()), indent=2, ensure_ascii=False)
    if format == "csv":
        return _csv(answer)
    if format == "markdown":
        return _markdown(answer)
    terminal = sys.stdout.isatty()
    width = width or (shutil.get_terminal_size().columns if terminal else _PIPE_WIDTH)
    return _table(answer, terminal if color is None else color, width)


def finite(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(answer: Answer) -> str:
    """A row per configuration, with the names of docs/answer.md; the comparison's follow under theirs, axes as they are."""
    names, plain = flat(answer)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return buffer.getvalue().rstrip("\n")


def flat(answer: Answer) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names, and a row of plain values per configuration, which may lack some of them."""
    plain = [_plain(one) for one in finite(answer.as_dict()["configurations"])]
    return list(dict.fromkeys(name for row in plain for name in row)), plain


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    comparison, axes = one.pop("comparison") or {}, one.pop("axes")
    lists = {name: " ".join(str(part) for part in one.pop(name) if part is not None) for name in ("trials", "seeds")}
    comparison.pop("seeds", None)  # how many: the row's seeds say it
    return {**one, **lists, **axes, **comparison}


def _markdown(answer: Answer) -> str:
    headings, rows = cells(answer)
    lines = [f"### {heading(answer)}", "", _escaped(said(answer)), "", *_lines(headings, rows)]
    if tried := values(answer):
        lines += [f"{_escaped(tried.title)}:", "", *_lines(tried.headings, tried.rows)]
    lines += [
        _escaped(answer.basis_text),
        *_bullets("Warnings", warnings(answer)),
        *_bullets("Not compared", lost(answer)),
    ]
    return "\n".join(lines)


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(headings), _line(["---", *["---:"] * (len(headings) - 1)]), *(_line(row) for row in rows), ""]


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(part) for part in parts)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: a model named `<script>` or `a|b` is text."""
    for mark in "\\`*_|<>[]":
        text = (
            text.replace(mark, "\\" + mark)
            if mark not in "<>"
            else text.replace(mark, {"<": "&lt;", ">": "&gt;"}[mark])
        )
    return " ".join(text.split()) if text != "---" else text


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"**{title}**", "", *(f"- {_escaped(line)}" for line in lines)] if lines else []


def heading(answer: Answer) -> str:
    return f"{answer.name}{' (partial: not all trials have ended)' if answer.partial else ''}"


def said(answer: Answer) -> str:
    """The recommendation, or why there is none."""
    if answer.recommendation is None:
        return "No recommendation: no completed trial has a loss that compares."
    return f"{'So far: ' if answer.partial else ''}{answer.recommendation.text}"


def warnings(answer: Answer) -> list[str]:
    """Everything that a reader should know before believing the table."""
    return [*answer.warnings, *(one.text for one in answer.differences if one.kind in ("confound", "cost"))]


def lost(answer: Answer) -> list[str]:
    return [f"{one.trial_id} ({one.label}, seed {one.seed}): {one.status}; {one.reason}" for one in answer.outcomes]


def _table(answer: Answer, color: bool, width: int) -> str:
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = [
        Text(heading(answer), "bold"),
        "",
        Text(said(answer)),
        "",
        *_tables(answer, width),
        Text(answer.basis_text),
    ]
    parts.append(Text(f"Margin {share(answer.margin)}; cheap is {', then '.join(answer.prefer)}."))
    for title, lines in (("Warnings", warnings(answer)), ("Not compared", lost(answer))):
        if lines:
            parts += ["", Text(title, "bold yellow"), *(Padding(Text(f"- {line}"), (0, 0, 0, 2)) for line in lines)]
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _tables(answer: Answer, width: int) -> list[Any]:
    """The comparison, and below it what the values of a tuned setting were chosen from."""
    parts = _fitting(*cells(answer), width, answer.recommendation.label if answer.recommendation else None)
    if tried := values(answer):
        parts += [_plain_text(f"{tried.title}."), *_fitting(tried.headings, tried.rows, width)]
    return parts


def _fitting(headings: list[str], rows: list[list[str]], width: int, pick: str | None = None) -> list[Any]:
    """One table, or where the lines are too short for it, one below the other."""
    widths = [max(len(line[index]) for line in [headings, *rows]) + 3 for index in range(len(headings))]
    chunks: list[list[int]] = [[0]]
    for index in range(1, len(headings)):
        if sum(widths[place] for place in [*chunks[-1], index]) + 1 > width and len(chunks[-1]) > 1:
            chunks.append([0])
        chunks[-1].append(index)
    return [part for chunk in chunks for part in (_rich(headings, rows, chunk, pick), "")]


def _rich(headings: list[str], rows: list[list[str]], chunk: list[int], pick: str | None) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index in chunk:
        table.add_column(headings[index], justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        mark = "→ " if row[0] == pick else "  "
        line = [(mark if index == 0 else "") + row[index] for index in chunk]
        table.add_row(*(_plain_text(cell) for cell in line), style="bold green" if row[0] == pick else None)
    return table


def _plain_text(cell: str) -> Any:
    from rich.text import Text

    return Text(cell)
