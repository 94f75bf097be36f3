from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from sweep.errors import NewerSchema, NotASweep, StoreError
from sweep.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "sweep"))


def step(number: int, attempt: int = 1, trial: str = "a") -> dict[str, Any]:
    return {"trial_id": trial, "attempt": attempt, "step": number, "loss": float(attempt)}


def test_a_row_comes_back_as_it_was_written_and_what_is_missing_is_null(store: Store) -> None:
    store.write_trial({"trial_id": "a", "status": "completed", "lora_r": 8}, {"learning_rate": 1e-4})
    row = store.trials().to_pylist()[0]
    assert row["lora_r"] == 8 and row["learning_rate"] == 1e-4 and row["eval_loss"] is None


def test_an_axis_may_have_values_of_different_kinds(store: Store) -> None:
    for trial, value in {"a": None, "b": 3, "c": "auto", "d": 2.5, "e": True}.items():
        store.write_trial({"trial_id": trial}, {"axis": value})
    assert set(store.trials().column("axis").to_pylist()) == {None, "3", "auto", "2.5", "true"}


def test_a_column_that_is_not_defined_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="unrecognized columns: los"):
        store.write_step_part("a", 1, 0, [{"los": 1.0}])


def test_a_later_attempt_replaces_the_steps_that_it_repeats(store: Store) -> None:
    store.write_step_part("a", 1, 1, [step(1), step(2), step(3)])
    store.write_step_part("a", 2, 0, [])
    store.write_step_part("a", 2, 1, [step(3, 2), step(4, 2)])
    for _ in range(2):  # in parts, and merged
        assert store.steps("a").select(["step", "attempt"]).to_pylist() == [
            {"step": 1, "attempt": 1},
            {"step": 2, "attempt": 1},
            {"step": 3, "attempt": 2},
            {"step": 4, "attempt": 2},
        ]
        assert store.attempts("a") == 2
        assert store.merge_steps("a") == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=5))
def test_whatever_attempts_did_every_step_is_there_once(spans: list[tuple[int, int]]) -> None:
    """Attempt n repeats from some step that was reached, and goes on for some steps."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store, reached = Store(folder), 0
        for attempt, (back, onward) in enumerate(spans, start=1):
            first = max(1, reached + 1 - back)
            reached = max(reached, first + onward - 1)
            store.write_step_part("a", attempt, 1, [step(number, attempt) for number in range(first, first + onward)])
        assert store.steps("a").column("step").to_pylist() == list(range(1, reached + 1))


def test_a_file_that_is_being_written_is_not_there_yet(store: Store, tmp_path: Path) -> None:
    store.write_trial({"trial_id": "a"}, {})
    (tmp_path / "sweep" / "trials" / "b.parquet.tmp").write_bytes(b"half")
    assert store.trial_names() == {"a"}
    assert store.trials().num_rows == 1


def test_a_newer_schema_is_refused_by_name(store: Store) -> None:
    store.write_bytes("sweep.json", b'{"schema_version": 99}')
    with pytest.raises(NewerSchema, match=r"schema version 99; this installation reads up to 1\. Upgrade"):
        store.read_sweep()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"not json", b'{"schema_version": null}'])
def test_something_else_is_no_sweep(store: Store, content: bytes) -> None:
    store.write_bytes("sweep.json", content)
    with pytest.raises(StoreError):
        store.read_sweep()


def test_an_empty_folder_is_no_sweep(store: Store) -> None:
    with pytest.raises(NotASweep, match=r"there is no sweep\.json"):
        store.read_sweep()


@pytest.mark.parametrize("left", [0, 3, 200, -1])
def test_a_part_that_was_cut_off_is_named_and_set_aside_and_the_rest_is_read(
    store: Store, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    for sequence in (1, 2, 3):
        store.write_step_part("a", 1, sequence, [step(2 * sequence - 1), step(2 * sequence)])
    name = "steps/a/part-1-000002.parquet"
    half = store.read_bytes(name)[:left]
    store.write_bytes(name, half)
    for _ in range(2):  # in parts, and merged
        assert store.steps().column("step").to_pylist() == [1, 2, 5, 6]
        assert store.attempts("a") == 1
        assert store.merge_steps("a") == 4
    assert f"Skipped files that were cut off mid-write: {store.uri(name)}" in caplog.text
    assert store.read_bytes(f"{name}.cut-off") == half


def test_a_part_that_is_broken_otherwise_is_an_error(store: Store) -> None:
    store.write_step_part("a", 1, 1, [step(1)])
    data = store.read_bytes("steps/a/part-1-000001.parquet")
    store.write_bytes("steps/a/part-1-000001.parquet", data[:4] + bytes(len(data) - 8) + data[-4:])
    with pytest.raises((OSError, pa.ArrowException)):
        store.steps()


def test_what_a_process_killed_as_it_wrote_rows_left_goes_when_they_are_merged(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_step_part("a", 1, 1, [{"trial_id": "a", "attempt": 1, "step": 1, "loss": 1.0}])
    (tmp_path / "steps" / "a" / "part-1-000002.parquet.tmp").write_bytes(b"PAR1")
    assert store.merge_steps("a") == 1
    assert [path.name for path in (tmp_path / "steps" / "a").iterdir()] == ["steps.parquet"]
