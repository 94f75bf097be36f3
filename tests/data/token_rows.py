"""Rows for tests of tokens, and the tokens that are made of them."""

from pathlib import Path
from typing import Any

from datasets import Dataset

from trainables.data.rows import Rows
from trainables.data.tokens import Tokens, prepare

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


def rows_of(given: list[Any], held_out: int = 12) -> Rows:
    train, rest = Dataset.from_list(given[held_out:]), Dataset.from_list(given[:held_out])
    return Rows(train, rest, f"print of {len(given)} {given[0]}", ())


def make(given: list[Any], cache: Path, model: Path, **settings: Any) -> Tokens:
    return prepare(rows_of(given), {"model_name_or_path": str(model), **settings}, str, cache)
