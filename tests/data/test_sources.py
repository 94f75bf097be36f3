"""Rows: where they come from."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from sweep.common.quiet import quiet
from tests.data.sources import ROWS, WRITERS, complaint, load, write_json
from trainables.data.files import read_file


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_source_gives_the_same_rows(name: str, tmp_path: Path, reference: Any) -> None:
    WRITERS[name](tmp_path / name)
    rows = load(tmp_path / name)
    assert rows.fingerprint == reference.fingerprint
    assert rows.train.to_list() == reference.train.to_list()
    assert rows.held_out.to_list() == reference.held_out.to_list()


def test_a_saved_data_set_keeps_a_selection_made_before(tmp_path: Path) -> None:
    with quiet():
        Dataset.from_list(ROWS).select(range(30, 10, -1)).save_to_disk(tmp_path / "saved")
    rows = load(tmp_path / "saved", test_split_size=1)
    outputs = {*rows.train["completion"], *rows.held_out["completion"]}
    assert outputs == {f"print({i})" for i in range(11, 31)}


def test_dictionary_encoded_text_is_text(tmp_path: Path, reference: Any) -> None:
    table = pa.Table.from_pylist(ROWS)
    table = table.set_column(2, "output", table["output"].dictionary_encode())
    pq.write_table(table, tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet").fingerprint == reference.fingerprint


def test_data_inside_an_object_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"data": ROWS}), encoding="utf-8-sig")
    assert len(load(tmp_path / "rows.json").train) == 36


def test_a_unicode_line_separator_does_not_end_a_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a\u2028b"}\n{"text": "c"}', encoding="utf-8")
    assert read_file(tmp_path / "rows.jsonl", {"text"}).table["text"].to_pylist() == ["a\u2028b", "c"]


def test_a_csv_column_of_numbers_is_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,n\n007,2\n1.50,3\n")
    assert read_file(tmp_path / "rows.csv", {"text"}).table.to_pylist() == [{"text": "007"}, {"text": "1.50"}]


def test_csv_texts_of_several_lines_stay_whole_in_a_large_file(tmp_path: Path) -> None:
    """Larger than the megabyte that the reader takes at a time, so that some text lies across a border."""
    text = "first, line\n" * 50
    (tmp_path / "rows.csv").write_text("text\n" + f'"{text}"\n' * 4_000)
    assert set(read_file(tmp_path / "rows.csv", {"text"}).table["text"].to_pylist()) == {text}


def test_a_hub_name_is_loaded_with_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub(name: str, config: str | None) -> DatasetDict:
        asked.append((name, config))
        return DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS[:3]))

    monkeypatch.setattr("datasets.load_dataset", hub)
    rows = load("owner/name", dataset_config="small")
    assert asked == [("owner/name", "small")]
    assert (len(rows.train), len(rows.held_out)) == (40, 3)


BLANK = [{"instruction": "a", "input": "", "output": text} for text in ("", None, " ")]


@pytest.mark.parametrize("published", [False, True], ids=["a file", "the Hub's"])
def test_few_blank_rows_are_left_out_counted_and_named_and_change_nothing_else(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Any
) -> None:
    given = [*ROWS[:7], *BLANK, *ROWS[7:]]
    write_json(tmp_path / "rows.json", given)
    monkeypatch.setattr("datasets.load_dataset", lambda *_: DatasetDict(train=Dataset.from_list(given)))
    rows = load("owner/name" if published else tmp_path / "rows.json")
    assert rows.held_out.to_list() == reference.held_out.to_list(), "an example_id means the same row"
    assert rows.fingerprint == reference.fingerprint
    (said,) = rows.warnings
    assert "3 of 43 rows have an empty or missing 'instruction' or 'output': row 7, row 8, row 9. They are" in said


@pytest.mark.parametrize("published", [False, True], ids=["a file", "the Hub's"])
def test_where_more_than_a_tenth_is_blank_that_is_a_complaint(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [*ROWS[:26], *BLANK]
    write_json(tmp_path / "rows.json", given)
    monkeypatch.setattr("datasets.load_dataset", lambda *_: DatasetDict(train=Dataset.from_list(given)))
    said = complaint("owner/name" if published else tmp_path / "rows.json")
    assert "3 of 29 rows" in said and "row 26, row 27, row 28. That is more than a tenth" in said
    write_json(tmp_path / "rows.json", [*ROWS[:27], *BLANK])
    assert not complaint(tmp_path / "rows.json"), "a tenth is not more than a tenth"


@pytest.mark.parametrize("filled", [0, 2])
def test_the_tenth_is_of_the_split_and_not_of_one_of_its_files(filled: int, tmp_path: Path, reference: Any) -> None:
    write_json(tmp_path / "a.json", [*ROWS[:filled], *BLANK[:1]])
    write_json(tmp_path / "b.json", ROWS[filled:])
    rows = load(tmp_path)
    assert f"a.json: 1 of {filled + 1} rows" in rows.warnings[0] and len(rows.warnings) == 1
    assert rows.fingerprint == reference.fingerprint


@pytest.mark.parametrize("blank", ["", None])
def test_blank_rows_alone_are_a_complaint(blank: str | None, tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": blank}] * 12)
    said = complaint(tmp_path / "rows.json")
    assert "12 of 12 rows" in said and "and 7 more, 12 in all. That is more than a tenth" in said


def test_without_the_hub_the_offline_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", away)
    said = complaint("owner/name")
    assert all(way in said for way in ("local file or folder", "HF_HUB_CACHE", "HF_ENDPOINT", "owner/name"))


def test_a_folder_that_cannot_be_looked_through_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    write_json(tmp_path / "a" / "rows.json")
    monkeypatch.setattr("trainables.data.sources._MOST_ENTRIES", 1)
    assert "holds more than 1 files and folders. Name the folder with the rows" in complaint(tmp_path)
    monkeypatch.undo()
    scandir = os.scandir

    def gone(path: str) -> Any:
        if str(path).endswith("a"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", gone)  # as a process's folder below /proc
    assert f"{tmp_path / 'a'} cannot be read: No such file or directory" in complaint(tmp_path)


def test_hidden_files_and_folders_are_not_read(tmp_path: Path, reference: Any) -> None:
    write_json(tmp_path / "rows.json")
    (tmp_path / ".git").mkdir()
    write_json(tmp_path / ".git" / "other.json")
    write_json(tmp_path / ".hidden.json")
    assert load(tmp_path).fingerprint == reference.fingerprint
