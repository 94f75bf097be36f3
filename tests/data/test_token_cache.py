"""Tokens are made once, and found again."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sweep.common.cache import cache_folder
from tests import toys
from tests.data.token_rows import CHATS, PAIRS, TEXTS, Settings, make
from trainables.data import preparation, tokens
from trainables.data.rows import load_rows
from trainables.data.token_cache import TokenCache
from trainables.data.tokens import prepare


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
