"""The answer as a table for the terminal, as Markdown, CSV, JSON and Parquet."""

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Literal, get_type_hints

from sweep.answer.answer import Answer, Basis, Comparison, Configuration, Verdict
from sweep.answer.groups import text_of
from sweep.common.formatting import share
from sweep.show.cells import cells, values

Format = Literal["table", "json", "csv", "markdown"]
FORMATS: tuple[Format, ...] = ("table", "json", "csv", "markdown")
_PIPE_WIDTH = 200  # characters per line if the output is not a terminal


def render(answer: Answer, format: Format = "table", *, color: bool | None = None, width: int | None = None) -> str:
    """The answer as text.

    Args:
        color: whether a table has colors; by default, only if standard output is a terminal.
        width: characters per line of a table; by default, the terminal's.
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
    """The same value with NaN and infinity, which JSON does not have, replaced by None."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(answer: Answer) -> str:
    """A row per configuration, with the names of docs/answer-reference.md, then its axes and its comparison."""
    names, plain = flat(answer)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return buffer.getvalue().rstrip("\n")


def flat(answer: Answer) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names, and a row of plain values per configuration; rows may lack some columns."""
    plain = [_plain(one) for one in finite(answer.as_dict()["configurations"])]
    return list(dict.fromkeys(name for row in plain for name in row)), plain


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    one = _one_level(one)
    lists = {name: " ".join(str(part) for part in one[name] if part is not None) for name in ("trials", "seeds")}
    return {**one, **lists}


def _one_level(one: dict[str, Any]) -> dict[str, Any]:
    """A configuration's values, then its axes, then those of its comparison."""
    comparison, axes = dict(one["comparison"] or {}), one["axes"]
    comparison.pop("seeds", None)  # their number: redundant with the row's own `seeds`
    own = {name: value for name, value in one.items() if name not in ("comparison", "axes", "trials", "seeds")}
    return {**own, "trials": one["trials"], "seeds": one["seeds"], **axes, **comparison}


def parquet(answer: Answer) -> bytes:
    """The rows of CSV, but with lists as lists. Types do not depend on what was measured."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_one_level(one) for one in answer.as_dict()["configurations"]]
    axes = dict.fromkeys(name for one in answer.configurations for name in one.axes)
    metrics = [name for one in answer.configurations[:1] for name in one.results]
    types = {
        **_types(Configuration),
        **dict.fromkeys(metrics, pa.float64()),
        **dict.fromkeys(axes),
        **_types(Comparison),
    }
    columns = {name: [row.get(name) for row in rows] for name in types}
    table = pa.table({name: _array(values, types[name]) for name, values in columns.items()})
    pq.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


def _types(kind: type) -> dict[str, Any]:
    """Arrow types of a dataclass's fields, except for those that are spread over several columns."""
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    known: dict[Any, Any] = {
        **dict.fromkeys([str, str | None, Basis, Verdict], text),
        **dict.fromkeys([int, int | None], whole),
        **dict.fromkeys([float, float | None], number),
        **dict.fromkeys([bool, bool | None], pa.bool_()),
        tuple[str, ...]: pa.list_(text),
        tuple[int | None, ...]: pa.list_(whole),
    }
    hints = get_type_hints(kind)
    apart = {"axes", "results", "comparison"} if kind is Configuration else {"seeds"}
    return {name: known[hint] for name, hint in hints.items() if name not in apart}


def _array(values: Sequence[Any], kind: Any) -> Any:
    """Values of a setting keep their type where it is one, and are texts otherwise."""
    import pyarrow as pa

    if kind is None and len({type(value) for value in values} - {type(None)}) > 1:
        values = [None if value is None else text_of(value) for value in values]
    return pa.array(values, kind)


def _markdown(answer: Answer) -> str:
    headings, rows = cells(answer)
    lines = [f"### {heading(answer)}", "", *_paragraphs(recommendation_text(answer)), *table_lines(headings, rows)]
    if tried := values(answer):
        lines += [f"{_escaped(tried.title)}:", "", *table_lines(tried.headings, tried.rows)]
    lines += [
        _escaped(answer.basis_text),
        *_bullets("Warnings", warnings(answer)),
        *_bullets("Not compared", not_compared(answer)),
    ]
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    return [part for line in text.splitlines() for part in (_escaped(line), "")]


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, and an empty line."""
    return [_line(headings), _line(["---", *["---:"] * (len(headings) - 1)]), *(_line(row) for row in rows), ""]


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(part) for part in parts)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows literally, such as a model named `<script>` or `a|b`."""
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


def recommendation_text(answer: Answer) -> str:
    """The recommendation, or why there is none."""
    if not answer.picks:
        return "No recommendation: no completed trial has a loss to compare."
    return "\n".join(f"{'So far: ' if answer.partial else ''}{one.text}" for one in answer.picks)


def warnings(answer: Answer) -> list[str]:
    """Everything that a reader should know before relying on the table."""
    return [*answer.warnings, *(one.text for one in answer.differences if one.kind in ("confound", "cost"))]


def not_compared(answer: Answer) -> list[str]:
    return [f"{one.trial_id} ({one.label}, seed {one.seed}): {one.status}; {one.reason}" for one in answer.outcomes]


def _table(answer: Answer, color: bool, width: int) -> str:
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = [
        Text(heading(answer), "bold"),
        "",
        Text(recommendation_text(answer)),
        "",
        *_tables(answer, width),
        Text(answer.basis_text),
    ]
    parts.append(Text(f"Margin {share(answer.margin)}; cheapest means least {', then '.join(answer.prefer)}."))
    for title, lines in (("Warnings", warnings(answer)), ("Not compared", not_compared(answer))):
        if lines:
            parts += ["", Text(title, "bold yellow"), *(Padding(Text(f"- {line}"), (0, 0, 0, 2)) for line in lines)]
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _tables(answer: Answer, width: int) -> list[Any]:
    """The comparison, and below it the losses from which the values of a tuned setting were chosen."""
    parts = _fitting(*cells(answer), width, [one.label for one in answer.picks])
    if tried := values(answer):
        parts += [_plain_text(f"{tried.title}."), *_fitting(tried.headings, tried.rows, width)]
    return parts


def _fitting(headings: list[str], rows: list[list[str]], width: int, picks: Sequence[str] = ()) -> list[Any]:
    """One table or, if it is too wide, several below each other."""
    widths = [max(len(line[index]) for line in [headings, *rows]) + 3 for index in range(len(headings))]
    chunks: list[list[int]] = [[0]]
    for index in range(1, len(headings)):
        if sum(widths[place] for place in [*chunks[-1], index]) + 1 > width and len(chunks[-1]) > 1:
            chunks.append([0])
        chunks[-1].append(index)
    return [part for chunk in chunks for part in (_rich(headings, rows, chunk, picks), "")]


def _rich(headings: list[str], rows: list[list[str]], chunk: list[int], picks: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index in chunk:
        table.add_column(headings[index], justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        mark = "→ " if row[0] in picks else "  "
        line = [(mark if index == 0 else "") + row[index] for index in chunk]
        table.add_row(*(_plain_text(cell) for cell in line), style="bold green" if row[0] in picks else None)
    return table


def _plain_text(cell: str) -> Any:
    from rich.text import Text

    return Text(cell)
