"""The Hub that does not answer, and models on it that bring their own code."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep import grid
from sweep.config.machine import check_writable
from tests import toys
from trainables import hub, model


@pytest.fixture
def dead_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Hub that takes every connection and closes it: a list of those it took. The Hub's client tries each six times."""
    import datasets.config
    from huggingface_hub import constants

    taken: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def close_all() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            taken.append("connection")
            connection.close()

    thread = threading.Thread(target=close_all, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # TRL's, of every SFTTrainer: no look-up
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub._silence.cache_clear()
    yield taken
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_hub_that_does_not_answer_is_asked_once(
    dead_end: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--model_name_or_path", "org/none", "--dataset_name", "org/rows", "--no_bf16", "--dry_run"]
    assert grid.main(words) == 2
    said = capsys.readouterr().err
    assert len(dead_end) == 1
    assert "does not answer" in said and "Only the Hub's cache is used" in said
    assert "org/none: neither a folder here nor a model that can be reached" in said
    assert "'org/rows' is no local file or folder, and the Hub's data set cannot be reached" in said


def test_nothing_is_asked_where_everything_is_here(
    dead_end: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toys.model(tmp_path / "model")
    (tmp_path / "rows.json").write_text(json.dumps([{"text": f"number {n}"} for n in range(9)]))
    words = ["--model_name_or_path", "model", "--dataset_name", "rows.json", "--no_bf16", "--dry_run"]
    assert grid.main(words) == 0
    assert not dead_end


def test_a_hub_model_with_code_of_its_own_is_told_apart_from_one_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--org--own"
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (place / "snapshots" / commit / "config.json").write_text(json.dumps(own))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = str(model.skeleton("org/own", {}, lambda name: name))
    assert "it contains its own code, which is not run" in said and "--trust_remote_code" in said
    assert "Offline" not in said
    assert "Offline" in str(model.skeleton("org/none", {}, lambda name: name))


def test_googles_store_out_of_reach_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client would try for a quarter of an hour."""
    key = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "key.json").write_text(json.dumps({**key, "token_uri": "http://127.0.0.1:1/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("sweep.store.location._RETRY_LIMIT_S", 1)
    (said,) = map(str, check_writable("gs://bucket/x"))
    assert said.startswith("--storage_path: gs://bucket/x cannot hold a sweep: ")
    assert "google::" not in said and len(said) < 200
