"""Curves are the same whether they are read in parts, merged, a few files at a time or many."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from sweep.common.column import schema
from sweep.store import parquet
from sweep.store.columns import STEPS
from sweep.store.store import Store


def rows(trial: str, first: int, last: int, attempt: int = 1) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial, "attempt": attempt, "step": step, "loss": 1.0 / step + attempt, "tokens": None}
        for step in range(first, last + 1)
    ]


@pytest.mark.parametrize("trials", [1, parquet.FEW, parquet.FEW + 1, 40])
def test_trials_that_ended_and_trials_that_run_are_read_together_in_order(tmp_path: Path, trials: int) -> None:
    store = Store(str(tmp_path))
    names = [f"r{number}-s0" for number in range(trials)] + ["r0-s0-more"]  # sorts before r0-s0 as a path
    for number, name in enumerate(reversed(names)):
        store.write_step_part(name, 1, 1, rows(name, 1, 4))
        store.write_step_part(name, 2, 1, rows(name, 3, 6, attempt=2))
        if number % 2:
            store.merge_steps(name)
    table = store.steps()
    expected = [(name, step, 1 if step < 3 else 2) for name in sorted(names) for step in range(1, 7)]
    columns = (table.column(name).to_pylist() for name in ("trial_id", "step", "attempt"))
    assert list(zip(*columns, strict=True)) == expected
    assert table.schema.equals(schema(STEPS))


def test_a_merged_file_beside_new_parts_is_no_whole_curve(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_step_part("a", 1, 1, rows("a", 1, 5))
    store.merge_steps("a")
    store.write_step_part("a", 2, 1, rows("a", 4, 6, attempt=2))
    assert store.steps().select(["step", "attempt"]).to_pylist() == [
        {"step": step, "attempt": 1 if step < 4 else 2} for step in range(1, 7)
    ]


def test_a_merged_file_keeps_types_nulls_and_times(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    full = [{**row, "timestamp": datetime(2026, 1, 2, 3, 4, 5, 6, UTC)} for row in rows("a", 1, 3)]
    table = pa.Table.from_pylist(full, schema=schema(STEPS))
    (tmp_path / "a.parquet").write_bytes(parquet.curve_bytes(table))
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
    (read,) = parquet.read(pafs.LocalFileSystem(), [str(tmp_path / "a.parquet")])
    assert read.equals(table)


def test_a_column_of_a_later_version_is_kept_and_one_that_is_missing_is_null(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_step_part("a", 1, 1, rows("a", 1, 2))
    store.merge_steps("a")
    newer = pa.table({"trial_id": ["b"], "attempt": [1], "step": [1], "loss": [0.5], "later": ["x"]})
    (tmp_path / "steps" / "b").mkdir()
    pq.write_table(newer, tmp_path / "steps" / "b" / "steps.parquet")
    assert store.steps().select(["trial_id", "later", "epoch"]).to_pylist() == [
        {"trial_id": "a", "later": None, "epoch": None},
        {"trial_id": "a", "later": None, "epoch": None},
        {"trial_id": "b", "later": "x", "epoch": None},
    ]


@pytest.mark.parametrize("files", [2, parquet.FEW + 1])
def test_a_file_that_went_away_or_is_cut_off_is_an_error_however_many_are_read(tmp_path: Path, files: int) -> None:
    paths = [str(tmp_path / f"{number}.parquet") for number in range(files)]
    for path in paths:
        Path(path).write_bytes(parquet.curve_bytes(pa.Table.from_pylist(rows("a", 1, 2), schema=schema(STEPS))))
    Path(paths[-1]).unlink()
    with pytest.raises(FileNotFoundError):
        parquet.read(pafs.LocalFileSystem(), paths)
    Path(paths[-1]).write_bytes(b"PAR1")
    with pytest.raises(pa.ArrowInvalid):
        parquet.read(pafs.LocalFileSystem(), paths)
