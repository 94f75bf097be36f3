"""Where a local Ray's token is, and who may read it."""

import atexit
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
import ray

from sweep.run import access, runner


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and no token in the environment."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    # Set first, so that what the code under test sets is taken back too.
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_token_is_made_for_its_owner_alone(home: Path) -> None:
    access.protect()
    file = home / ".ray" / "auth_token"
    assert mode(file) == 0o600 and mode(file.parent) == 0o700
    made = file.read_text()
    assert len(made) == 64 and int(made, 16)
    access.protect()
    assert file.read_text() == made
    assert list(file.parent.iterdir()) == [file]
    assert "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_a_token_that_everyone_may_read_is_closed_and_stays_the_same(home: Path) -> None:
    (home / ".ray").mkdir()
    file = home / ".ray" / "auth_token"
    file.write_text("the cluster's too")
    file.chmod(0o644)
    access.protect()
    assert mode(file) == 0o600 and file.read_text() == "the cluster's too"


def test_of_two_drivers_that_start_at_once_both_have_the_first_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = home / ".ray" / "auth_token", access._written

    def overtaken(folder: Path) -> Path:
        file.write_text("the other driver's")
        return real(folder)

    monkeypatch.setattr(access, "_written", overtaken)
    access.protect()
    assert file.read_text() == "the other driver's" and list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("which", ["not writable", "none"])
def test_where_the_home_cannot_be_written_the_token_is_the_process_own(
    which: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *call, **named: at_exit.append((call, named)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if which == "none":
        monkeypatch.delenv("HOME")
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    access.protect()
    file = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert file.parent == tmp_path and mode(file) == 0o600 and len(file.read_text()) == 64
    ((call, named),) = at_exit
    call[0](*call[1:], **named)
    assert not file.exists()


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_that_the_user_gives_is_the_users(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "given")
    access.protect()
    assert os.environ[name] == "given" and list(home.iterdir()) == []


@pytest.mark.parametrize(("address", "made"), [(None, True), ("auto", False), ("10.0.0.1:6379", False)])
def test_no_token_is_made_for_a_cluster_that_the_user_names(
    address: str | None, made: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", lambda **given: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    runner.start(address, verbose=False)
    assert (home / ".ray" / "auth_token").exists() == made
