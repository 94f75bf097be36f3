"""Reads a file of rows into an Arrow table: JSON, JSONL, CSV or Parquet.

Read here rather than through `datasets.load_dataset`, so that errors name the file and line, nothing is copied into a
cache, and a row keeps the line it came from.
"""

import csv
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep.common.formatting import first_few, headline, listed
from sweep.errors import Complaint, ConfigError
from trainables.data import nested

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
_KINDS = {type(None): "null", str: "a string", bool: "true or false", list: "a list", dict: "an object"}  # JSON's words


@dataclass(frozen=True)
class Part:
    """Rows from one source: a table of the wanted columns, and the names of all columns in the source."""

    name: str
    table: pa.Table
    columns: tuple[str, ...]
    lines: Sequence[int] | None = None

    def where(self, row: int) -> str:
        """How messages name a row, counted from 0: with its line if the file has lines."""
        return f"row {row}" if self.lines is None else f"row {row} (line {self.lines[row]})"


def read_file(path: Path, wanted: Collection[str]) -> Part:
    suffix = path.suffix.lower()
    readers = {".json": _read_json, ".jsonl": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    if suffix not in readers:
        raise ConfigError(
            [
                Complaint(
                    "dataset_name",
                    f": {path} ends in {suffix!r}, which is not supported. Give a {listed(SUFFIXES, 'or')} file.",
                )
            ]
        )
    try:
        return readers[suffix](path, wanted)
    except UnicodeDecodeError as error:
        raise ConfigError(
            [f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}. Convert it."]
        ) from error
    except (OSError, pa.ArrowException, csv.Error, ValueError) as error:
        raise ConfigError([f"{path} cannot be read as {suffix[1:]}: {headline(error)}. Check the file."]) from error


def _read_parquet(path: Path, wanted: Collection[str]) -> Part:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = tuple(file.schema_arrow.names)
        table = file.read(columns=[column for column in columns if column in wanted])
    return Part(str(path), plain(table), columns)


def _read_csv(path: Path, wanted: Collection[str]) -> Part:
    """Every column as text: a column of numbers is text to a language model."""
    from pyarrow import csv as arrow_csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        columns = tuple(next(csv.reader(file), ()))
    if not columns:
        raise ConfigError([f"{path} is empty. Its first line must name the columns."])
    twice = [column for index, column in enumerate(columns) if column in columns[:index]]
    if twice:
        raise ConfigError([f"{path}: two columns are called {twice[0]!r}. Name each column once."])
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=[column for column in columns if column in wanted],
        strings_can_be_null=False,
    )
    table = arrow_csv.read_csv(
        path, parse_options=arrow_csv.ParseOptions(newlines_in_values=True), convert_options=convert
    )
    return Part(str(path), table, columns)


def _read_json(path: Path, wanted: Collection[str]) -> Part:
    """A JSON array of objects, `{"data": [...]}`, or an object a line."""
    text = path.read_text(encoding="utf-8-sig")
    rows, lines = _parse(text, path)
    odd = [index for index, row in enumerate(rows) if not isinstance(row, dict)]
    if odd:
        place = f"line {lines[odd[0]]}" if lines else f"row {odd[0]}"
        raise ConfigError(
            [f"{path}: {place} is {_KINDS.get(type(rows[odd[0]]), 'a number')}, not an object. Make each row {{...}}."]
        )
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    part = Part(str(path), pa.table({}), columns, lines)
    arrays = {column: _column(part, column, rows) for column in columns if column in wanted}
    return Part(part.name, pa.table(arrays), columns, lines)


def _parse(text: str, path: Path) -> tuple[list[Any], list[int] | None]:
    """The rows, and the line of each if the file has one per line."""
    array = text.lstrip().startswith("[")
    if path.suffix.lower() == ".json" or array:
        try:
            whole = json.loads(text)
            rows = whole["data"] if isinstance(whole, dict) and isinstance(whole.get("data"), list) else whole
            return (rows if isinstance(rows, list) else [rows]), None
        except (json.JSONDecodeError, RecursionError) as error:
            if array or not str(error).startswith("Extra data"):
                raise ConfigError([f"{path} is not JSON: {headline(error)}. Correct it there."]) from error
    return _parse_lines(text, path)


def _parse_lines(text: str, path: Path) -> tuple[list[Any], list[int]]:
    rows, lines, wrong = [], [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
            lines.append(number)
        except (json.JSONDecodeError, RecursionError) as error:
            wrong.append(f"line {number} ({error.msg if isinstance(error, json.JSONDecodeError) else error})")
    if wrong:
        raise ConfigError([f"{path}: not JSON: {first_few(wrong)}. Each line must be one object {{...}}."])
    return rows, lines


def _column(part: Part, column: str, rows: list[dict[str, Any]]) -> pa.Array:
    values = [row.get(column) for row in rows]
    try:
        return nested.array(values)
    except UnicodeEncodeError as error:
        raise ConfigError(
            [f"{part.name}: column {column!r} holds {error.object[error.start]!r}, which is not valid text. Remove it."]
        ) from error
    except (pa.ArrowException, OverflowError) as error:
        kinds = [type(value) for value in values]
        first = next((kind for kind in kinds if kind is not type(None)), type(None))
        odd = [row for row, kind in enumerate(kinds) if kind not in (first, type(None))]
        found = headline(error)
        if odd:
            found = f"{part.where(odd[0])} is {_KINDS.get(kinds[odd[0]], 'a number')}, where the first is {_KINDS.get(first, 'a number')}"
        raise ConfigError(
            [f"{part.name}: column {column!r} mixes types: {found}. Give every row the same type."]
        ) from error


def plain(table: pa.Table) -> pa.Table:
    """Dictionary-encoded and view strings as plain strings, which every reader accepts."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) or pa.types.is_string_view(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.large_string()))
    return table.replace_schema_metadata(None)
