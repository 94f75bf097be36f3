"""`datasets`: a mixture has the rows that TRL's own script gives it, or is one sentence."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from trl import DatasetMixtureConfig, get_dataset

from sweep.common.names import resolver
from sweep.common.quiet import quiet
from sweep.errors import ConfigError
from trainables.data.rows import complaints_about_rows, load_rows
from trainables.data.tokens import data_name

Settings = dict[str, Any]


def same(name: str) -> str:
    return name


def texts(folder: Path, name: str, count: int) -> str:
    rows: Sequence[Settings] = [{"text": f"{name} {i}", "source": name} for i in range(count)]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / f"{name}.jsonl")


MIXTURES: dict[str, list[Settings]] = {
    "all of each": [{"data_files": "A"}, {"data_files": ["B"]}],
    "shares": [{"data_files": "A", "fraction": 0.75}, {"data_files": "B", "fraction": 0.25}],
    "shares that do not add up to one": [{"data_files": "A", "fraction": 3}, {"data_files": "B", "fraction": 1}],
    "a part of a split": [
        {"data_files": {"train": "A"}, "split": "train[:5]"},
        {"data_files": "B", "columns": ["text"]},
    ],
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_has_the_rows_that_trl_gives_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    files = {"A": texts(tmp_path, "a", 12), "B": texts(tmp_path, "b", 5)}
    mixture = json.loads(
        json.dumps(MIXTURES[name]).replace('"A"', json.dumps(files["A"])).replace('"B"', json.dumps(files["B"]))
    )
    mixture = [{"path": "json", **entry} for entry in mixture]
    found = load_rows({"datasets": mixture, "test_split_size": 2, "dataset_test_split": "ignored"}, same)
    held_out = found.held_out["text"]
    assert len(held_out) == 2
    with quiet():
        theirs = get_dataset(DatasetMixtureConfig(datasets=[dict(entry) for entry in mixture]))["train"]["text"]
    assert found.train["text"] == [text for text in theirs if text not in held_out]


def test_a_builder_is_no_folder_that_is_called_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json").mkdir()
    mixture = [{"path": "json", "data_files": Path(texts(tmp_path, "a", 4)).name}]
    assert len(load_rows({"datasets": mixture, "test_split_size": 1}, resolver(str(tmp_path))).train) == 3


def test_a_mixture_may_name_files_and_what_the_hub_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub(path: str, **given: Any) -> Dataset:
        asked.append((path, given))
        return Dataset.from_list([{"text": f"hub {i}"} for i in range(3)])

    monkeypatch.setattr("datasets.load_dataset", hub)
    mixture = [{"path": texts(tmp_path, "a", 4)}, {"path": "owner/name", "name": "small", "split": "train_sft"}]
    found = load_rows({"datasets": mixture, "test_split_size": 1}, same)
    assert len(found.train) == 6
    assert asked == [("owner/name", {"name": "small", "data_dir": None, "data_files": None, "split": "train_sft"})]


BAD_MIXTURES: dict[str, tuple[Any, str]] = {
    "a name": (["a/b"], "--datasets: expected a list of mappings such as {path: owner/name}, got ['a/b']."),
    "no path": ([{"name": "a"}], "--datasets: path is missing from {'name': 'a'}."),
    "an unknown key": (
        [{"path": "a/b", "weight": 1}],
        "--datasets, a/b: unrecognized weight. A data set of a mixture has",
    ),
    "half the shares": (
        [{"path": "a/b", "fraction": 1}, {"path": "c/d"}],
        "--datasets: fraction stands with some of them only.",
    ),
    "no share": ([{"path": "a/b", "fraction": 0}], "--datasets: every fraction is 0."),
    "a negative share": ([{"path": "a/b", "fraction": -1}], "--datasets, a/b: fraction must be at least 0, got -1."),
    "columns as text": (
        [{"path": "a/b", "columns": "text"}],
        "--datasets, a/b: columns must be a list of names, got 'text'.",
    ),
    "a column that is not there": (
        [{"path": "A", "columns": ["x"]}],
        "there is no column 'x', it has 'text', 'source'.",
    ),
    "nothing to train on": (
        [{"path": "A", "columns": ["source"]}],
        "no columns to train on among 'source'. Leave it out.",
    ),
    "a file that is not there": ([{"path": "json", "data_files": "none.jsonl"}], "--datasets, json: cannot be read:"),
}


@pytest.mark.parametrize("name", BAD_MIXTURES)
def test_a_bad_mixture_is_one_sentence(name: str, tmp_path: Path) -> None:
    mixture, sentence = BAD_MIXTURES[name]
    files = {"A": texts(tmp_path, "a", 12)}
    with pytest.raises(ConfigError) as caught:
        load_rows({"datasets": mixture}, lambda name: files.get(name, name))
    assert len(caught.value.complaints) == 1 and sentence in str(caught.value)


def test_a_mixture_beside_a_data_set_is_refused(tmp_path: Path) -> None:
    """An axis of data sets would otherwise vary nothing."""
    settings = {"datasets": [{"path": texts(tmp_path, "a", 12)}], "dataset_name": "b.json"}
    (found,) = complaints_about_rows(settings, same)
    assert str(found) == "--datasets and dataset_name are both given. Leave one of the two out."


def test_a_mixture_is_named_by_its_data_sets() -> None:
    assert data_name({"datasets": [{"path": "a/b"}, {"path": "c/d", "split": "train[:9]"}]}) == (
        "a/b + c/d (split='train[:9]')"
    )
