"""What is said about data and settings that cannot be used."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from sweep.common.quiet import quiet
from sweep.errors import ConfigError
from tests.data.sources import ROWS, Settings, complaint, load, same, write_json
from trainables.data.rows import complaints_about_rows

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
