"""What redaction changes in a checkpoint, and what it must not."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from sweep import redact
from tests import toys

LEFT_ALONE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "added_tokens.json",
    "model.safetensors.index.json",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    home = tmp_path / "home-of-a-user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return str(home)


@pytest.fixture
def checkpoint(home: str, tmp_path: Path) -> Path:
    """A saved model whose tokenizer has the home directory's name as a token, and what a trainer writes beside it."""
    folder = toys.model(tmp_path / "checkpoint")
    toys.tokenizer(folder, lines=tuple(f"cd {home}/{n} " for n in range(50)))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {home: len(tokenizer["model"]["vocab"]), "~": len(tokenizer["model"]["vocab"]) + 1}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ("vocab.json", "added_tokens.json", "model.safetensors.index.json"):
        (folder / name).write_text(json.dumps({home: 7, f"{home}/x": 8, "~": 9}))
    for name in redact.NAME_PATHS:
        (folder / name).write_text(json.dumps({"path": f"{home}/x", "base": "/models/base"}))
    return folder


def prints(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_weights_and_tokenizer_files_stay_as_they_are_byte_for_byte(checkpoint: Path, home: str) -> None:
    before = prints(checkpoint)
    redact.folder(checkpoint, {"/models/base": "my-model"})
    after = prints(checkpoint)
    assert {*LEFT_ALONE, "model.safetensors"} <= before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == set(redact.NAME_PATHS)
    vocabulary = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"]
    assert home in vocabulary and vocabulary[home] != vocabulary["~"]


def test_files_that_name_paths_say_neither_home_nor_the_models_place(checkpoint: Path) -> None:
    os.link(checkpoint / "trainer_state.json", checkpoint / "the-trainers-own")
    redact.folder(checkpoint, {"/models/base": "my-model"})
    for name in redact.NAME_PATHS:
        assert json.loads((checkpoint / name).read_text()) == {"path": "~/x", "base": "my-model"}
    assert json.loads((checkpoint / "the-trainers-own").read_text())["base"] == "/models/base"
