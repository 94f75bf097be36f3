"""Tokens: they are TRL's own, made once, found again, and trained on as if the trainer had made them."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sweep.common.cache import cache_folder
from sweep.common.quiet import quiet
from sweep.errors import ConfigError
from tests import toys
from trainables.data import preparation, tokens
from trainables.data.rows import Rows, load_rows
from trainables.data.token_cache import TokenCache
from trainables.data.tokens import READY, Tokens, data_key, dataset_of, prepare

Settings = dict[str, Any]
WORDS = ("add", "sum", "Straße", "数字", "🙂", "return", "number", "x")


def words(i: int, count: int) -> str:
    return " ".join(WORDS[(i * 7 + j * 3 + j * j) % len(WORDS)] for j in range(count))


def chat(i: int) -> list[dict[str, str]]:
    turns = [("user", words(i, 3)), ("assistant", words(i, 4)), ("user", "again"), ("assistant", words(i, 2 + i % 9))]
    return [{"role": role, "content": content} for role, content in turns]


PAIRS = [{"prompt": f"# {words(i, 1 + i % 13)}\n", "completion": words(i + 1, 1 + i % 17)} for i in range(60)]
TEXTS = [{"text": words(i, 1 + i % 23)} for i in range(60)]
CHATS = [{"messages": chat(i)} for i in range(60)]

# Every way that the preparation can take, by name: rows and settings.
WAYS: dict[str, tuple[list[Any], Settings]] = {
    "completion only": (PAIRS, {"max_length": 40}),
    "whole pairs": (PAIRS, {"max_length": 40, "completion_only_loss": False}),
    "end kept": (PAIRS, {"max_length": 24, "truncation_mode": "keep_end"}),
    "text": (TEXTS, {"max_length": 32}),
    "uncut": (TEXTS, {"max_length": None}),
    "shuffled": (TEXTS, {"max_length": 32, "shuffle_dataset": True, "seed": 3}),
    "packed": (PAIRS, {"max_length": 48, "packing": True}),
    "packed and shuffled": (PAIRS, {"max_length": 48, "packing": True, "shuffle_dataset": True, "seed": 3}),
    "packed and split": (TEXTS, {"max_length": 24, "packing": True, "packing_strategy": "bfd_split"}),
    "wrapped": (TEXTS, {"max_length": 24, "packing": True, "packing_strategy": "wrapped"}),
    "messages": (CHATS, {"max_length": 64}),
    "assistant only": (CHATS, {"max_length": 64, "assistant_only_loss": True}),
    "another end": (TEXTS, {"max_length": 32, "eos_token": "<unk>"}),
}


def rows_of(given: list[Any], held_out: int = 12) -> Rows:
    train, rest = Dataset.from_list(given[held_out:]), Dataset.from_list(given[:held_out])
    return Rows(train, rest, f"print of {len(given)} {given[0]}", ())


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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("toy") / "llama")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def make(given: list[Any], cache: Path, model: Path, **settings: Any) -> Tokens:
    return prepare(rows_of(given), {"model_name_or_path": str(model), **settings}, str, cache)


def trainer(model: Path, folder: Path, train: Any, held_out: Any, **settings: Any) -> Any:
    """A plain SFTTrainer as a user's script would make it."""
    args = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        eval_packing=False,
        save_strategy="no",
        max_steps=5,
        per_device_train_batch_size=4,
        logging_steps=1,
        learning_rate=1e-2,
        **settings,
    )
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=args,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def losses(one: Any) -> list[float]:
    """Of five steps, and the held-out one. To be called before another trainer is made: that one sets the seed."""
    one.train()
    logged = [entry["loss"] for entry in one.state.log_history if "loss" in entry]
    return [*logged, one.evaluate()["eval_loss"]]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the same as TRL's -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning")
@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_a_plain_trainer_makes(way: str, model: Path, cache: Path, tmp_path: Path) -> None:
    given, settings = WAYS[way]
    rows = rows_of(given)
    with quiet():
        plain = trainer(model, tmp_path, rows.train, rows.held_out, **settings)
    made = make(given, cache, model, **settings)
    packed = ["seq_lengths"] if settings.get("packing") and settings.get("packing_strategy") != "wrapped" else []
    assert made.train.column_names[:2] == ["input_ids", "labels"]
    assert set(packed) <= set(made.train.column_names)
    assert made.train.to_pylist() == plain.train_dataset.select_columns(made.train.column_names).to_list()
    columns = ["input_ids", "labels"]
    assert made.held_out.select(columns).to_pylist() == plain.eval_dataset.select_columns(columns).to_list()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.parametrize(
    ("way", "architecture"),
    [
        ("completion only", "llama"),
        ("completion only", "gpt2"),
        ("completion only", "opt"),
        ("text", "opt"),
        ("packed", "llama"),
        ("packed", "opt"),
        ("assistant only", "gpt2"),
        ("shuffled", "llama"),
    ],
)
def test_training_on_shared_tokens_has_the_losses_of_a_plain_trainer(
    way: str, architecture: str, ray: Any, cache: Path, tmp_path: Path, one_thread: None
) -> None:
    given, settings = WAYS[way]
    model = toys.model(tmp_path / "model", architecture)
    rows = rows_of(given)
    made = make(given, cache, model, **settings)
    train, held_out = (dataset_of(table) for table in ray.get([ray.put(made.train), ray.put(made.held_out)]))
    with quiet():
        plain = losses(trainer(model, tmp_path / "a", rows.train, rows.held_out, **settings))
        ours = losses(trainer(model, tmp_path / "b", train, held_out, **{**settings, **READY}))
    assert len(plain) == 6
    assert plain == ours


def test_a_shared_table_is_not_copied_nor_written(ray: Any, cache: Path, model: Path) -> None:
    table = ray.get(ray.put(make(TEXTS, cache, model).train))
    data = dataset_of(table)
    addresses = [one["input_ids"].chunk(0).values.buffers()[1].address for one in (table, data.data.table)]
    assert addresses[0] == addresses[1]
    assert data.cache_files == []
    assert data.to_list() == table.to_pylist()


def test_a_data_set_is_named_by_its_key(cache: Path, model: Path) -> None:
    """Without a name the library would hash the whole table to make one."""
    made, again = make(TEXTS, cache, model), make(TEXTS, cache / "other", model)
    names = [dataset_of(table)._fingerprint for table in (made.train, again.train, made.held_out)]
    assert names == [f"{made.key}-train", f"{made.key}-train", f"{made.key}-held_out"]


@pytest.mark.parametrize("kind", ["jinja", "tokenizer"])
def test_a_chat_template_is_cloned(kind: str, model: Path, cache: Path, tmp_path: Path) -> None:
    other = toys.tokenizer(tmp_path / "other", lines=("quite other words\n",))
    template = toys.CHAT_TEMPLATE.replace("<{{ message['role'] }}>", "[{{ message['role'] }}]")
    (other / "chat_template.jinja").write_text(template)
    path = other / "chat_template.jinja" if kind == "jinja" else other
    resolved = prepare(
        rows_of(CHATS),
        {"model_name_or_path": "M", "chat_template_path": "T"},
        {"M": str(model), "T": str(path)}.__getitem__,
        cache,
    )
    text = AutoTokenizer.from_pretrained(model).decode(resolved.held_out["input_ids"][0].as_py())
    assert text.startswith("[user]")
    assert resolved.key != make(CHATS, cache, model).key


# --- held-out rows -----------------------------------------------------------------------------------------------------


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


# --- made once ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def makings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that tokens are really made."""
    done: list[int] = []
    real = preparation.tokenize

    def counted(*args: Any) -> Any:
        done.append(1)
        return real(*args)

    monkeypatch.setattr(preparation, "tokenize", counted)
    return done


def test_the_next_sweep_finds_the_tokens(makings: list[int], cache: Path, model: Path) -> None:
    made, again = (make(PAIRS, cache, model, max_length=20) for _ in range(2))
    assert len(makings) == 1
    assert (made.cached, again.cached) == (False, True)
    assert dataclasses.replace(again, cached=False) == made
    assert made.warnings
    assert again.train.schema.equals(made.train.schema, check_metadata=True)


MISSES: dict[str, Settings] = {
    "max_length": {"max_length": 21},
    "packing": {"packing": True},
    "loss": {"completion_only_loss": False},
    "shuffle": {"shuffle_dataset": True},
    "end": {"truncation_mode": "keep_end"},
    "eos": {"eos_token": "<unk>"},
}


@pytest.mark.parametrize("name", MISSES)
def test_a_setting_that_shapes_tokens_misses_the_cache(name: str, makings: list[int], cache: Path, model: Path) -> None:
    make(PAIRS, cache, model, max_length=20)
    make(PAIRS, cache, model, **{"max_length": 20, **MISSES[name]})
    assert len(makings) == 2


def test_other_rows_another_tokenizer_or_another_version_miss_the_cache(
    makings: list[int], cache: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(PAIRS, cache, model)
    make(PAIRS[:-1], cache, model)
    make(PAIRS, cache, toys.tokenizer(tmp_path / "bos", bos=True))
    monkeypatch.setattr(tokens, "version", lambda _: "0")
    make(PAIRS, cache, model)
    assert len(makings) == 4


def test_a_chat_template_counts_by_its_content(makings: list[int], cache: Path, model: Path, tmp_path: Path) -> None:
    made = []
    first, second = tmp_path / "first.jinja", tmp_path / "second.jinja"
    for template, path in (
        (toys.CHAT_TEMPLATE, first),
        (toys.CHAT_TEMPLATE, second),
        ("other " + toys.CHAT_TEMPLATE, first),
    ):
        path.write_text(template)
        make(CHATS, cache, model, chat_template_path=str(path))
        made.append(len(makings))
    assert made == [1, 1, 2]


def test_a_tokenizer_that_was_moved_hits_the_cache(
    makings: list[int], cache: Path, model: Path, tmp_path: Path
) -> None:
    make(PAIRS, cache, model)
    shutil.copytree(model, tmp_path / "moved")
    make(PAIRS, cache, tmp_path / "moved", learning_rate=1.0, lora_r=8, seed=7)
    assert len(makings) == 1


@pytest.mark.parametrize("harm", ["cut off", "a bit turned", "emptied", "gone"])
@pytest.mark.parametrize("end", ["train.arrow", "held_out.arrow", "json"])
def test_a_damaged_cache_is_made_anew(harm: str, end: str, makings: list[int], cache: Path, model: Path) -> None:
    made = make(TEXTS, cache, model)
    path = cache / f"{made.key}.{end}"
    data = path.read_bytes()
    turned = bytearray(data)
    turned[len(data) // 2] ^= 1
    path.unlink()  # a mapped file must not change under its reader
    if harm != "gone":
        path.write_bytes({"cut off": data[:-7], "a bit turned": bytes(turned), "emptied": b""}[harm])
    again = make(TEXTS, cache, model)
    assert again.train.equals(made.train)
    assert again.held_out.equals(made.held_out)
    assert len(makings) == 2 or (end, harm) == ("json", "a bit turned")
    assert make(TEXTS, cache, model).cached


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    made = make(TEXTS, tmp_path / "file", model)
    assert "tokens are not cached for the next sweep" in made.warnings[-1]
    assert made.train.num_rows == 48


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("trainables.data.token_cache._hash", full)
    table = pa.table({"input_ids": [[1]]})
    with pytest.raises(OSError, match="no space"):
        TokenCache(tmp_path).save("k", {"train": table, "held_out": table}, [])
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_has_no_cache_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError("no such user")

    model = toys.tokenizer(tmp_path / "tokenizer")
    (tmp_path / "rows.json").write_text(json.dumps([{"text": f"number {n}"} for n in range(9)]))
    settings = {"model_name_or_path": str(model), "dataset_name": str(tmp_path / "rows.json")}
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache_folder("tokens") is None
    made = prepare(load_rows(settings, str), settings, str)
    assert made.train.num_rows == 8 and not made.cached
    assert "tokens are not cached for the next sweep: this user has no home directory" in made.warnings[-1]


# --- which trials share them -------------------------------------------------------------------------------------------


def test_trials_that_differ_in_training_only_share_their_tokens() -> None:
    base: Settings = {"dataset_name": "D", "model_name_or_path": "M"}
    assert data_key(base) == data_key({**base, "lora_r": 8, "seed": 1, "learning_rate": 1.0, "max_length": 1024})
    assert data_key(base) == data_key({**base, "packing_strategy": "wrapped"})
    shuffled = {**base, "shuffle_dataset": True}
    others: list[Settings] = [
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
    assert ours.keys() - theirs.keys() == {"dataset_group", "prompt_template", "test_split_size"}
    assert {name: theirs[name] for name in ours if name in theirs} == {
        name: ours[name] for name in ours if name in theirs
    }


# --- what is said, and what is left alone ------------------------------------------------------------------------------


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
    from trainables.data.rows import load_rows

    with quiet():
        Dataset.from_list(TEXTS).save_to_disk(tmp_path / "saved")
    before = sorted(os.listdir(tmp_path / "saved"))  # noqa: PTH208
    rows = load_rows({"dataset_name": str(tmp_path / "saved")}, str)
    prepare(rows, {"model_name_or_path": str(model)}, str, cache)
    assert sorted(os.listdir(tmp_path / "saved")) == before  # noqa: PTH208
