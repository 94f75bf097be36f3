"""Rows: what is read, what it becomes, what is held out, and what is said about data that cannot be used."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from sweep.common.quiet import quiet
from sweep.errors import ConfigError
from trainables.data.files import read_file
from trainables.data.forms import ALPACA_WITH_INPUT, ALPACA_WITHOUT_INPUT
from trainables.data.rows import complaints_about_rows, held_out_count, load_rows

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


# --- sources -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("reference") / "rows.json"
    write_json(path)
    return load(path)


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


# --- forms -------------------------------------------------------------------------------------------------------------


def test_instructions_become_alpacas_prompt_by_whether_there_is_input(reference: Any) -> None:
    seen = {*reference.train["prompt"], *reference.held_out["prompt"]}
    assert seen == {(ALPACA_WITH_INPUT if row["input"] else ALPACA_WITHOUT_INPUT).format(**row) for row in ROWS}


def test_a_prompt_template_of_ones_own(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json")
    rows = load(tmp_path / "rows.json", prompt_template="# {instruction} {{{input}}}\n", test_split_size=1)
    assert {f"# Füge {i} hinzu 🙂 {{{'' if i % 2 else f'数 {i}'}}}\n" for i in range(40)} == {
        *rows.train["prompt"],
        *rows.held_out["prompt"],
    }
    assert not rows.warnings
    without = load(tmp_path / "rows.json", prompt_template="# {instruction}\n")
    assert "20 of 40" in without.warnings[0]


def test_a_missing_input_column_is_as_an_empty_one(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [{"instruction": f"{i}", "output": "x"} for i in range(3)])
    write_json(tmp_path / "b.json", [{"instruction": f"{i}", "input": None, "output": "x"} for i in range(3)])
    for template in (None, "{instruction} {input}\n"):
        without, empty = (load(tmp_path / name, prompt_template=template) for name in ("a.json", "b.json"))
        assert without.fingerprint == empty.fingerprint
        assert not any("None" in prompt for prompt in without.train["prompt"])


def chat(i: int, role: str = "role", content: str = "content") -> list[dict[str, str]]:
    return [{role: "user", content: f"ask {i}"}, {role: "assistant", content: "tell"}]


FORMS: dict[str, tuple[list[Any], list[str]]] = {
    "text": ([{"text": f"t{i}", "label": 1} for i in range(4)], ["text"]),
    "pair": ([{"prompt": f"p{i}", "completion": "c", "text": "t"} for i in range(4)], ["prompt", "completion"]),
    "chat pair": ([{"prompt": chat(i)[:1], "completion": chat(i)[1:]} for i in range(4)], ["prompt", "completion"]),
    "messages": ([{"messages": chat(i), "source": "x"} for i in range(4)], ["messages"]),
    "tools": ([{"messages": chat(i), "tools": "[]"} for i in range(4)], ["messages", "tools"]),
    "turns": ([{"conversations": chat(i, "from", "value")} for i in range(4)], ["conversations"]),
    "conversations of roles": ([{"conversations": chat(i)} for i in range(4)], ["messages"]),
    "text wins over instruction": ([{**ROWS[i], "text": f"t{i}"} for i in range(4)], ["text"]),
}


@pytest.mark.parametrize("name", FORMS)
def test_only_the_columns_of_the_form_are_kept(name: str, tmp_path: Path) -> None:
    given, columns = FORMS[name]
    write_jsonl(tmp_path / "rows.jsonl", given)
    rows = load(tmp_path / "rows.jsonl")
    assert rows.train.column_names == rows.held_out.column_names == columns


def test_a_template_asks_for_instructions_and_a_text_field_names_its_column(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{**row, "text": "t", "code": row["output"]} for row in ROWS])
    assert load(tmp_path / "rows.json", prompt_template="{instruction}{input}").train.column_names == [
        "prompt",
        "completion",
    ]
    assert load(tmp_path / "rows.json", dataset_text_field="code").train.column_names == ["code"]


# --- the held-out split ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "size", "count"),
    [(40, None, 4), (5, None, 1), (20_022, None, 1_000), (40, 7, 7), (40, 0.25, 10), (3, 0.01, 1)],
)
def test_how_many_rows_are_held_out(rows: int, size: float | int | None, count: int) -> None:
    assert held_out_count(rows, size) == count


def test_the_split_is_a_partition_in_the_sources_order_whatever_the_seed(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": f"{i:02}"} for i in range(40)])
    rows = load(tmp_path / "rows.json", test_split_size=10, seed=1)
    train, held_out = list(rows.train["text"]), list(rows.held_out["text"])
    assert sorted(train + held_out) == [f"{i:02}" for i in range(40)]
    assert (train, held_out) == (sorted(train), sorted(held_out))
    assert held_out != [f"{i:02}" for i in range(30, 40)]
    assert (
        load(tmp_path / "rows.json", test_split_size=10, seed=2, shuffle_dataset=True).fingerprint == rows.fingerprint
    )


@pytest.mark.parametrize("kind", ["saved", "folder"])
def test_a_test_split_of_the_source_is_used(kind: str, tmp_path: Path) -> None:
    place = tmp_path / kind
    if kind == "saved":
        with quiet():
            DatasetDict(train=Dataset.from_list(ROWS[:30]), test=Dataset.from_list(ROWS[30:])).save_to_disk(place)
    else:
        place.mkdir()
        write_parquet(place / "train-00000-of-00001.parquet", ROWS[:30])
        write_parquet(place / "test-00000-of-00001.parquet", ROWS[30:])
        write_parquet(place / "validation.parquet", ROWS[:5])
    rows = load(place, test_split_size=3)
    assert (len(rows.train), len(rows.held_out)) == (30, 10)
    assert "test_split_size is not used" in rows.warnings[0]


@pytest.mark.parametrize("kind", [str, int])
def test_clusters_are_held_out_whole(kind: type, tmp_path: Path) -> None:
    rows = [{**row, "problem": kind(place // 4)} for place, row in enumerate(ROWS)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    found = load(tmp_path / "rows.jsonl", dataset_group="problem", test_split_size=6)
    assert found.clusters.to_pylist() == sorted(found.clusters.to_pylist(), key=int)
    assert [found.clusters.to_pylist().count(name) for name in set(found.clusters.to_pylist())] == [4, 4]
    assert found.held_out.column_names == found.train.column_names == ["prompt", "completion"]
    assert found.fingerprint != load(tmp_path / "rows.jsonl", test_split_size=6).fingerprint


def test_a_row_without_a_cluster_is_its_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [{**row, "problem": None} for row in ROWS])
    found = load(tmp_path / "rows.jsonl", dataset_group="problem", test_split_size=6)
    assert found.clusters.to_pylist() == [None] * 6


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        (["a"] * 40, "problem", "take every cluster, since clusters are not split"),
        (["a"] * 40, "source", "'source': .* has no such column, it has .*'problem'"),
        ([[1]] * 40, "problem", "Use strings or whole numbers"),
    ],
)
def test_clusters_that_cannot_be_used_are_a_complaint(
    values: list[Any], name: str, message: str, tmp_path: Path
) -> None:
    rows = [{**row, "problem": value} for row, value in zip(ROWS, values, strict=True)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert re.search(message, complaint(tmp_path / "rows.jsonl", dataset_group=name))


def test_held_out_rows_that_are_trained_on_too_are_counted(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": "same"}] * 20)
    assert "2 of 2 held-out rows also occur among the training rows" in load(tmp_path / "rows.json").warnings[0]


def test_the_fingerprint_is_of_content(tmp_path: Path, reference: Any) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_csv(tmp_path / "elsewhere" / "other.csv")
    assert load(tmp_path / "elsewhere" / "other.csv").fingerprint == reference.fingerprint
    for changed in (ROWS[::-1], [*ROWS[:-1], {**ROWS[-1], "output": "print( 39)"}]):
        write_json(tmp_path / "changed.json", changed)
        assert load(tmp_path / "changed.json").fingerprint != reference.fingerprint
    write_json(tmp_path / "rows.json")
    assert load(tmp_path / "rows.json", test_split_size=5).fingerprint != reference.fingerprint


def test_the_fingerprint_is_the_same_in_another_process(tmp_path: Path, reference: Any) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    load = f"load_rows({{'dataset_name': {str(tmp_path / 'rows.jsonl')!r}}}, str)"
    code = f"from trainables.data.rows import load_rows\nprint({load}.fingerprint)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == reference.fingerprint


# --- what is said ------------------------------------------------------------------------------------------------------

BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "not JSON": ("x.json", b'[{"text": "a"},\n {"text": }]', "line 2 column 11"),
    "a broken line": ("x.jsonl", b'{"text": "a"}\n\n{"text":\n{"text": "b"}\nnope\n', "line 3 (Expecting value), line 5"),
    "rows that are no objects": ("x.jsonl", b'{"text": "a"}\n\n[1]\n', "line 3 is a list"),
    "null": ("x.json", b"null", "row 0 is null"),
    "mixed kinds": ("x.jsonl", b'{"text": "a"}\n\n{"text": 5}\n', "row 1 (line 3) is a number, where the first is a string"),
    "half a character": ("x.json", b'[{"text": "\\ud800"}]', "'\\ud800'"),
    "not UTF-8": ("x.jsonl", b'{"text": "\xff"}', "byte 10 is 0xff"),
    "not UTF-8 in CSV": ("x.csv", b"text\n\xff\n", "0xff"),
    "empty text": ("x.jsonl", b'{"text": "a"}\n{"text": " "}\n\n{"n": 1}\n', "'text': row 1 (line 2), row 2 (line 4)"),
    "empty output": ("x.csv", b"instruction,input,output\na,,b\nc,,\n", "'instruction' or 'output': row 1."),
    "empty messages": ("x.json", b'[{"messages": []}, {"messages": [{"role": "u", "content": "a"}]}]', "'messages': row 0"),
    "no rows": ("x.json", b"[]", "'train' has no rows"),
    "no rows in CSV": ("x.csv", b"text\n", "'train' has no rows"),
    "an empty CSV": ("x.csv", b"", "is empty"),
    "ragged CSV": ("x.csv", b"text,n\na,1\nb\n", "Expected 2 columns, got 1"),
    "no columns we know": ("x.csv", b"question,answer\n1,2\n", "no columns to train on among 'question', 'answer'"),
    "half a pair": ("x.csv", b"prompt,chosen\n1,2\n", "no columns to train on among 'prompt', 'chosen'"),
    "a number": ("x.json", b'[{"text": 1}, {"text": 2}]', "column 'text' holds int64. It must be text"),
    "a list": ("x.json", b'[{"instruction": "a", "output": ["b"]}]', "column 'output' holds list"),
    "mixed pairs": ("x.json", b'[{"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]}]', "both be strings or both lists"),
    "not Parquet": ("x.parquet", b"nope", "cannot be read as parquet"),
    "a suffix not read": ("x.txt", b"text", "'.txt', which is not supported. Give a .json, .jsonl, .csv or .parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_described(name: str, tmp_path: Path) -> None:
    file, content, said = BAD_FILES[name]
    (tmp_path / file).write_bytes(content)
    assert said in complaint(tmp_path / file)


BAD_SETTINGS: dict[str, tuple[Settings, str]] = {
    "as many held out as there are": ({"test_split_size": 40}, "asks for 40 held-out rows and the data has 40"),
    "a share of all": ({"test_split_size": 0.999}, "asks for 40 held-out rows and the data has 40"),
    "none held out": ({"test_split_size": 0}, "got 0"),
    "a share above one": ({"test_split_size": 1.5}, "got 1.5"),
    "a truth": ({"test_split_size": True}, "got True"),
    "no such train split": ({"dataset_train_split": "training", "dataset_name": "DICT"}, "has test, train"),
    "no such test split": ({"dataset_test_split": "val"}, "dataset_test_split 'val' is missing"),
    "one split for both": ({"dataset_test_split": "train"}, "are both 'train'"),
    "another field": ({"prompt_template": "{question}"}, "got question"),
    "an attribute": ({"prompt_template": "{instruction.__class__}"}, "got instruction.__class__"),
    "a conversion": ({"prompt_template": "{instruction!r}"}, "only contain plain fields"),
    "no instruction": ({"prompt_template": "{input}"}, "lacks {instruction}"),
    "no format": ({"prompt_template": "{instruction"}, "not a format string"),
    "completions of text": ({"dataset_text_field": "output", "completion_only_loss": True}, "needs prompt and completion"),
    "assistants of text": ({"assistant_only_loss": True}, "needs lists of {role, content}"),
    "nothing named": ({"dataset_name": None}, "no data set"),
    "a missing file": ({"dataset_name": "none.jsonl"}, "no file or folder 'none.jsonl'"),
    "a missing folder": ({"dataset_name": "./none"}, "no file or folder './none'"),
    "a folder without rows": ({"dataset_name": "EMPTY"}, "holds no .json, .jsonl, .csv or .parquet file"),
    "a folder that was saved badly": ({"dataset_name": "BROKEN"}, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_a_bad_setting_is_described(name: str, tmp_path: Path) -> None:
    settings, said = BAD_SETTINGS[name]
    write_json(tmp_path / "rows.json")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BROKEN").mkdir()
    (tmp_path / "BROKEN" / "state.json").write_text("{")
    with quiet():
        DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS)).save_to_disk(tmp_path / "DICT")
    settings = {"dataset_name": "rows.json", **settings}

    def resolve(name: str) -> str:
        return str(tmp_path / name) if (tmp_path / name).exists() else name

    assert said in "\n".join(map(str, complaints_about_rows(settings, resolve)))


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{\n")
    (tmp_path / "b.csv").write_bytes(b"text\n\xff\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, prompt_template="{x}", test_split_size=-1)
    assert len(caught.value.complaints) == 4


def test_good_rows_have_no_complaint(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json")
    assert complaints_about_rows({"dataset_name": str(tmp_path / "rows.json")}, same) == []
