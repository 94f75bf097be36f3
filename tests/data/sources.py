"""Rows for tests, in every kind of file, and what is loaded from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from sweep.common.quiet import quiet
from trainables.data.rows import complaints_about_rows, load_rows

Settings = dict[str, Any]
ROWS = [
    {"instruction": f"Füge {i} hinzu 🙂", "input": "" if i % 2 else f"数 {i}", "output": f"print({i})"}
    for i in range(40)
]


def same(name: str) -> str:
    return name


def load(name: Path | str, **settings: Any) -> Any:
    return load_rows({"dataset_name": str(name), **settings}, same)


def complaint(name: Path | str, **settings: Any) -> str:
    return "\n".join(map(str, complaints_about_rows({"dataset_name": str(name), **settings}, same)))


def write_json(path: Path, rows: list[Any] = ROWS) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def write_jsonl(path: Path, rows: list[Any] = ROWS) -> None:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: list[Any] = ROWS) -> None:
    from pyarrow import csv

    csv.write_csv(pa.Table.from_pylist(rows), path)


def write_parquet(path: Path, rows: list[Any] = ROWS) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_saved(path: Path, rows: list[Any] = ROWS) -> None:
    with quiet():
        Dataset.from_list(rows).save_to_disk(path)


def write_folder(path: Path, rows: list[Any] = ROWS) -> None:
    (path / "data").mkdir(parents=True)
    write_parquet(path / "data" / "0.parquet", rows[:25])
    write_jsonl(path / "data" / "1.jsonl", rows[25:])


WRITERS: dict[str, Callable[[Path], None]] = {
    "rows.json": write_json,
    "rows.jsonl": write_jsonl,
    "jsonl-inside.json": write_jsonl,
    "rows.csv": write_csv,
    "rows.parquet": write_parquet,
    "saved": write_saved,
    "folder": write_folder,
}
