"""Where what waits for the store is kept on this machine."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from sweep.errors import ConfigError
from sweep.store import Store
from trainables import leftovers


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a home, whose temporary files are in a folder of the test's; the user stands in another one."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as Python does for a user whom nobody knows
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "tmp"


def place(folder: Path) -> Path:
    return leftovers.place(Store(str(folder / "results" / "one")))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_a_home_leftovers_are_in_a_private_temporary_folder(temporary: Path, tmp_path: Path) -> None:
    root = place(tmp_path)
    assert root.parent.parent == temporary
    assert mode(root.parent) == 0o700
    assert place(tmp_path) == root and place(tmp_path / "other") != root
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_of_ones_own_is_made_private(temporary: Path, tmp_path: Path) -> None:
    folder = temporary / f"lora-rank-sweep-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert place(tmp_path).parent == folder
    assert mode(folder) == 0o700


@pytest.mark.parametrize("what", ["another user's", "a link", "a file"])
def test_a_name_that_another_user_took_is_refused(
    what: str, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits there is not ours to write, and nothing of ours goes there."""
    root = place(tmp_path)
    planted = root / "r8-s0" / "1"
    planted.mkdir(parents=True)
    assert leftovers.waiting(root) == [planted]
    folder = root.parent
    if what == "another user's":
        mine = os.getuid()
        folder = folder.rename(folder.with_name(f"lora-rank-sweep-{mine + 1}"))
        monkeypatch.setattr(os, "getuid", lambda: mine + 1)  # its owner is another then
    else:
        moved = folder.rename(tmp_path / "moved")
        folder.symlink_to(moved) if what == "a link" else folder.write_text("")
    with pytest.raises(ConfigError, match="Set XDG_CACHE_HOME to a folder that you may write"):
        place(tmp_path)
    with pytest.raises(PermissionError):
        leftovers.protect(folder / root.name)
    assert leftovers.waiting(folder / root.name) == []


def test_with_a_home_they_are_in_the_cache(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = place(tmp_path)
    assert root.parent == tmp_path / "cache" / "lora-rank-sweep" / "spool"
    leftovers.protect(root)
    assert list(temporary.iterdir()) == []
