"""Reads trial rows from one CSV or Parquet file: results that this project did not produce, such as a report's table.

The columns are those of docs/columns.md. A file needs `lora_r` (a number, or `full`) and a loss; memory may be in bytes or
a string with a unit, "3.1 GB". Any further column is treated as an axis of the grid.
"""

import csv
import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.common.column import schema
from sweep.common.formatting import reason
from sweep.errors import RowsError
from sweep.store.columns import LOSSES, STATUSES, TRIALS
from sweep.store.loading import Sweep

ALIASES = {
    "max memory allocated": "peak_memory_allocated_bytes",
    "max_memory_allocated": "peak_memory_allocated_bytes",
    "rank": "lora_r",
    "r": "lora_r",
}
_TYPES = {column.name: column.type for column in TRIALS}
_SIZES = {column.name for column in TRIALS if column.unit == "bytes"}
_UNITS = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)\s*([a-z]+)", re.IGNORECASE)


def from_file(path: str) -> Sweep:
    """A sweep made of the rows of a .csv or .parquet file.

    Raises:
        RowsError: the file cannot be read, or columns or values are not as documented; names all of them.
    """
    names, rows = _read(path)
    columns, complaints, notes = _columns(names)
    if not rows:
        complaints.append("there are no rows")
    table: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        converted, wrong = _convert({columns[name]: row[name] for name in names}, number, _theirs(columns))
        table.append(converted)
        complaints += wrong
    ids = [row["trial_id"] for row in table]
    twice = dict.fromkeys(one for index, one in enumerate(ids) if one in ids[:index])
    complaints += [f"two rows have the trial_id {one!r}: give each its own, or leave the column out" for one in twice]
    if complaints:
        raise RowsError(path, complaints)
    return Sweep(path, rows=_table(table), notes=tuple(notes))


def _read(path: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and rows; empty cells of a CSV are None."""
    file = Path(path)
    try:
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            return list(table.column_names), table.to_pylist()
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream, strict=True)
                rows = [{name: value or None for name, value in row.items()} for row in reader]
                names = list(reader.fieldnames or ())
                wrong = [f"row {number} has more cells than names" for number, row in enumerate(rows, 1) if None in row]
                twice = [name for index, name in enumerate(names) if name in names[:index]]
                wrong += [f"two columns are called {name!r}: leave one out" for name in dict.fromkeys(twice)]
                if wrong:
                    raise RowsError(path, wrong)
                return names, rows
    except UnicodeDecodeError as error:
        raise RowsError(path, ["it is not UTF-8 text. Convert it, or give a .parquet file"]) from error
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise RowsError(
            path, [f"it cannot be read: {reason(error)}. Give a .csv or a .parquet file of trial rows"]
        ) from error
    raise RowsError(path, [f"its name ends in {file.suffix or 'nothing'}: give a .csv or a .parquet file"])


def _columns(names: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Each column's name in our table; complaints; notes for the reader."""
    columns = {name: ALIASES.get(name.strip().lower(), name.strip()) for name in names}
    complaints: list[str] = []
    notes: list[str] = []
    twice = sorted({ours for ours in columns.values() if list(columns.values()).count(ours) > 1})
    complaints += [f"column {number} has no name" for number, name in enumerate(names, start=1) if not name.strip()]
    complaints += [f"there are two columns for {name}: leave one out" for name in twice]
    for name in columns.values():
        if name and name not in _TYPES:
            close = difflib.get_close_matches(name, list(_TYPES), n=1, cutoff=0.75)
            if close:
                complaints.append(f"unrecognized column {name!r}: did you mean {close[0]}?")
            else:
                notes.append(f"column {name!r} is not in docs/columns.md, so it is treated as an axis of the grid")
    if "lora_r" not in columns.values():
        complaints.append("column lora_r is missing: it holds the rank, or the word full")
    if not {"train_loss", "eval_loss"} & set(columns.values()):
        complaints.append("column eval_loss (held-out) or train_loss is missing, so there is nothing to compare")
    return columns, complaints, notes


def _theirs(columns: dict[str, str]) -> dict[str, str]:
    """The file's name for each of our columns."""
    return {ours: name for name, ours in columns.items()}


def _convert(row: dict[str, Any], number: int, theirs: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    converted, wrong = {}, []
    full = str(row.get("lora_r")).strip().lower() == "full" or row.get("method") == "full"
    for name, value in row.items():
        try:
            converted[name] = None if name == "lora_r" and full else _value(name, value)
        except ValueError as error:
            wrong.append(f"row {number}: {theirs[name]} is {value!r}; {error}")
    if not full and row.get("lora_r") is None:
        wrong.append(f"row {number}: lora_r is empty; give a rank, or full")
    converted["method"] = "full" if full else "lora"
    converted.setdefault("status", "completed")
    if converted["status"] not in STATUSES:
        wrong.append(f"row {number}: status is {converted['status']!r}; it must be one of {', '.join(STATUSES)}")
    if converted.get("trial_id") is None:
        converted["trial_id"] = f"row-{number}"
    return converted, wrong


def _value(name: str, value: Any) -> Any:
    """A cell in its column's type. Only a loss may be NaN or infinite.

    Raises:
        ValueError: it does not have that type; the message says what is expected.
    """
    kind = _TYPES.get(name)
    if value is None or kind is None or pa.types.is_timestamp(kind):
        return value if kind is None else None
    if pa.types.is_string(kind):
        return str(value)
    if pa.types.is_boolean(kind):
        return _truth(value)
    amount = _amount(name, value)
    if amount < 0 and name not in LOSSES:
        raise ValueError("it cannot be negative")
    if not math.isfinite(amount):
        if name in LOSSES:
            return amount
        raise ValueError("it must be finite")
    if not pa.types.is_integer(kind):
        return amount
    if not amount.is_integer() or abs(amount) >= 2**53:
        raise ValueError("it must be a whole number")
    if name == "lora_r" and amount < 1:
        raise ValueError("a rank is 1 or more, or full")
    return int(amount)


def _truth(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ValueError("it must be true or false")
    return words[word]


def _amount(name: str, value: Any) -> float:
    """A number, or for memory a number with its unit: bytes, in powers of 1000 (GB) or 1024 (GiB)."""
    text = str(value).strip()
    match = _AMOUNT.fullmatch(text) if name in _SIZES else None
    if match and match.group(2).lower() in _UNITS:
        return float(round(float(match.group(1)) * _UNITS[match.group(2).lower()]))
    try:
        return float(text.replace("_", "no number"))  # Python reads 1_000 as a number; a table must not
    except ValueError:
        wanted = 'a number of bytes, or a size such as "3.1 GB"' if name in _SIZES else "a number"
        raise ValueError(f"it must be {wanted}") from None


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    extra = {name: value for row in reversed(rows) for name, value in row.items() if name not in _TYPES}
    texts = {name: str(value) for name, value in extra.items()}  # values of an axis only distinguish configurations
    kept = [
        {name: str(value) if name in texts and value is not None else value for name, value in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(kept, schema=schema(TRIALS, texts))
