"""Tokens: of held-out rows, in other trials, and of what cannot be prepared."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig

from sweep.common.quiet import quiet
from sweep.errors import ConfigError
from tests import toys
from tests.data.token_rows import CHATS, PAIRS, TEXTS, Settings, chat, make, rows_of
from trainables.data import tokens
from trainables.data.rows import load_rows
from trainables.data.tokens import data_key, prepare


def test_held_out_tokens_carry_their_cluster_and_a_hash_of_their_content(model: Path, cache: Path) -> None:
    """Rows that differ only beyond max_length are the same row to the model; a dropped one shifts nothing."""
    given = [{"text": "add sum x " + end} for end in ("return", "number", "sum")] + TEXTS[3:]
    clusters = pa.array([f"c{index}" for index in range(12)], pa.large_string())
    rows = dataclasses.replace(rows_of(given), clusters=clusters)
    held = prepare(rows, {"model_name_or_path": str(model), "max_length": 3}, str, cache).held_out
    hashes = held["content_hash"].to_pylist()
    assert len(set(hashes[:3])) == 1
    assert [hashes.index(one) == place for place, one in enumerate(hashes)].count(True) == len(
        {str(row["input_ids"]) for row in held.to_pylist()}
    )
    assert held["group"].to_pylist() == [f"c{index}" for index in held["example_id"].to_pylist()]
    assert set(make(TEXTS, cache, model).held_out["group"].to_pylist()) == {None}


def test_held_out_rows_keep_their_numbers_when_some_are_dropped(cache: Path, model: Path) -> None:
    given = [dict(row) for row in PAIRS]
    for row in (0, 5):
        given[row]["prompt"] = "x" * 50
    for settings in ({}, {"packing": True}, {"shuffle_dataset": True, "seed": 5}):
        made = make(given, cache, model, max_length=48, **settings)
        assert sorted(made.held_out["example_id"].to_pylist()) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
        assert "2 of 12 held-out rows have no token with a loss within max_length 48: left out." in made.warnings
        decode = AutoTokenizer.from_pretrained(model).decode
        for row in made.held_out.to_pylist():
            text = given[row["example_id"]]["prompt"] + given[row["example_id"]]["completion"]
            assert text.startswith(decode(row["input_ids"][:-1])) or len(row["input_ids"]) == 48


def test_rows_longer_than_the_limit_are_counted(cache: Path, model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    lengths = [len(tokenizer(row["text"] + "</s>").input_ids) for row in TEXTS]
    limit = sorted(lengths)[40]  # so that some row has just this length
    train = sum(length > limit for length in lengths[12:])
    made = make(TEXTS, cache, model, max_length=limit)
    assert made.warnings[0] == f"{train} of 48 training rows are longer than max_length {limit} tokens: cut."
    split = make(TEXTS, cache, model, max_length=limit, packing=True, packing_strategy="bfd_split")
    assert "split over several sequences" in split.warnings[0]
    assert make(TEXTS, cache, model, max_length=None).warnings == ()


@pytest.mark.parametrize("architecture", ["llama", "opt"])
def test_bytes_are_those_of_the_text_that_has_a_loss(architecture: str, cache: Path, tmp_path: Path) -> None:
    model = toys.model(tmp_path / "model", architecture)
    completions = [len(row["completion"].encode()) for row in PAIRS[:12]]
    assert make(PAIRS, cache, model).held_out["bytes"].to_pylist() == completions
    texts = make(TEXTS, cache, model).held_out
    tokenizer = AutoTokenizer.from_pretrained(model)
    first = [
        len(tokenizer.decode(ids[:1], skip_special_tokens=True).encode()) for ids in texts["input_ids"].to_pylist()
    ]
    whole = [len(row["text"].encode()) for row in TEXTS[:12]]
    assert texts["bytes"].to_pylist() == [size - skipped for size, skipped in zip(whole, first, strict=True)]
    spoken = [sum(len(turn["content"].encode()) for turn in chat(i) if turn["role"] == "assistant") for i in range(12)]
    assert make(CHATS, cache, model, assistant_only_loss=True).held_out["bytes"].to_pylist() == spoken


def test_trials_that_differ_in_training_only_share_their_tokens() -> None:
    base: Settings = {"dataset_name": "D", "model_name_or_path": "M"}
    assert data_key(base) == data_key({**base, "lora_r": 8, "seed": 1, "learning_rate": 1.0, "max_length": 1024})
    assert data_key(base) == data_key({**base, "packing_strategy": "wrapped"})
    shuffled = {**base, "shuffle_dataset": True}
    others: list[Settings] = [
        {**base, "test_split_seed": 3},
        {**shuffled, "seed": 1}, {**shuffled, "seed": 2}, {**base, "max_length": 9}, {**base, "dataset_name": "E"},
        {**base, "model_name_or_path": "N"}, {**base, "test_split_size": 3}, {**base, "prompt_template": "{instruction}"},
        {**base, "packing": True}, {**base, "packing": True, "packing_strategy": "wrapped"}, {**base, "eos_token": "x"},
    ]  # fmt: skip
    assert len({data_key(settings) for settings in [base, *others]}) == 1 + len(others)


def test_the_defaults_are_trls_own() -> None:
    from trl import ModelConfig, ScriptArguments

    theirs = {
        field.name: field.default
        for cls in (ModelConfig, ScriptArguments, SFTConfig)
        for field in dataclasses.fields(cls)
    }
    ours = {**tokens.SOURCE_SETTINGS, **tokens.TOKEN_SETTINGS}
    assert ours.keys() - theirs.keys() == {
        "dataset_group",
        "datasets",
        "prompt_template",
        "test_split_seed",
        "test_split_size",
    }
    assert {name: theirs[name] for name in ours if name in theirs} == {
        name: ours[name] for name in ours if name in theirs
    }


@pytest.mark.parametrize(
    ("given", "settings", "said"),
    [
        (PAIRS, {"max_length": 1}, "no training row has a token with a loss within it"),
        (TEXTS, {"eos_token": "</end>"}, "'</end>'"),
        (TEXTS, {"packing": True, "max_length": None}, "max_length"),
        (TEXTS, {"truncation_mode": "keep_middle"}, "keep_middle"),
        (
            TEXTS,
            {"model_name_or_path": "/nowhere/to/be/found"},
            "no tokenizer can be loaded from '/nowhere/to/be/found'",
        ),
        (TEXTS, {"chat_template_path": "/nowhere/to/be/found"}, "'/nowhere/to/be/found'"),
    ],
)
def test_what_cannot_be_prepared_is_a_complaint(
    given: list[Any], settings: Settings, said: str, cache: Path, model: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(rows_of(given), {"model_name_or_path": str(model), **settings}, str, cache)
    assert said in str(caught.value)
    assert not cache.exists()


def test_a_tokenizer_without_an_end_is_a_complaint(tmp_path: Path, cache: Path) -> None:
    folder = toys.tokenizer(tmp_path / "endless")
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"eos_token": "</s>",', ""))
    with pytest.raises(ConfigError, match="--eos_token"):
        make(TEXTS, cache, folder)
    assert make(TEXTS, cache, folder, eos_token="</s>").train.num_rows == 48


def test_what_trl_warns_of_is_passed_on(tmp_path: Path, cache: Path, model: Path) -> None:
    """Said once in a process, so by a text of its own."""
    template = toys.CHAT_TEMPLATE.replace("</s>{% endgeneration %}", "{% endgeneration %}</s>")
    (tmp_path / "late.jinja").write_text(template)
    made = make(CHATS, cache, model, chat_template_path=str(tmp_path / "late.jinja"), assistant_only_loss=True)
    assert any("may not learn to stop" in warning for warning in made.warnings)


def test_nothing_is_printed_and_no_accelerator_is_touched(
    cache: Path, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(PAIRS, cache, model, max_length=20, packing=True)
    assert capfd.readouterr() == ("", "")
    assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def test_the_users_folder_is_left_as_it_was(tmp_path: Path, cache: Path, model: Path) -> None:

    with quiet():
        Dataset.from_list(TEXTS).save_to_disk(tmp_path / "saved")
    before = sorted(os.listdir(tmp_path / "saved"))  # noqa: PTH208
    rows = load_rows({"dataset_name": str(tmp_path / "saved")}, str)
    prepare(rows, {"model_name_or_path": str(model)}, str, cache)
    assert sorted(os.listdir(tmp_path / "saved")) == before  # noqa: PTH208
