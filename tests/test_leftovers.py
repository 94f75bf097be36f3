"""Where what waits for the store is kept on this machine."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from sweep import grid
from sweep.config import machine
from sweep.errors import ConfigError
from sweep.run import session
from sweep.store import leftovers
from sweep.store.store import Store
from tests.test_identity import WORDS


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
    return leftovers.spool_dir(Store(str(folder / "results" / "one")), "1d")


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
    assert leftovers.pending(root) == [planted]
    folder = root.parent
    if what == "another user's":
        mine = os.getuid()
        folder = folder.rename(folder.with_name(f"lora-rank-sweep-{mine + 1}"))
        monkeypatch.setattr(os, "getuid", lambda: mine + 1)  # its owner is another then
    else:
        moved = folder.rename(tmp_path / "moved")
        folder.symlink_to(moved) if what == "a link" else folder.write_text("")
    with pytest.raises(ConfigError, match="Set XDG_CACHE_HOME to a folder that you can write to"):
        place(tmp_path)
    with pytest.raises(PermissionError):
        leftovers.protect(folder / root.name)
    assert leftovers.pending(folder / root.name) == []


def test_with_a_home_they_are_in_the_cache(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = place(tmp_path)
    assert root.parent == tmp_path / "cache" / "lora-rank-sweep" / "spool"
    leftovers.protect(root)
    assert list(temporary.iterdir()) == []


# --- whose they are ----------------------------------------------------------------------------------------------------


def ended(root: Path, trial_id: str, loss: float) -> Path:
    """Leaves a trial's ending to be written."""
    folder = root / trial_id / "1"
    folder.mkdir(parents=True)
    row = {"trial_id": trial_id, "status": "completed", "attempts": 1, "eval_loss": loss, "lora_r": 8, "seed": 0}
    leftovers.Ending(row, {}).save(folder)
    return folder


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, list[str]]:
    """A sweep whose only trial has an ending that waits, and the command that goes on with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "cuda_devices", lambda: 0)
    command = [*WORDS, "--storage_path", str(tmp_path / "results"), "--name", "one"]
    store = Store(str(tmp_path / "results" / "one"))
    return store, command


def noted(store: Store, command: list[str], **known: str) -> str:
    """Writes the sweep.json of a sweep that has not got its row yet; returns its trial's id."""
    from sweep.config.layers import resolve
    from sweep.plan import planning as plan

    found, _ = resolve(command, False)
    assert found is not None
    (trial,) = found.trials()
    store.write_sweep({**plan.content(found, [trial], {}), **known})
    return trial.trial_id


@pytest.mark.parametrize("sweep_id", ["abc123", None])
def test_what_waits_for_this_sweep_is_written(swept: tuple[Store, list[str]], sweep_id: str | None) -> None:
    """Also for a sweep of a version that gave no id."""
    store, command = swept
    trial = noted(store, command, **({"id": sweep_id} if sweep_id else {}))
    folder = ended(leftovers.spool_dir(store, sweep_id), trial, 1.0)
    assert grid.main(command) == 0
    row = store.trial(trial)
    assert row is not None and row["eval_loss"] == 1.0
    assert not folder.parent.parent.exists()
    assert store.read_sweep().get("id") == sweep_id


@pytest.mark.parametrize("sweep_id", ["abc123", None])
def test_what_waits_for_a_sweep_that_was_removed_is_not_the_next_ones(
    swept: tuple[Store, list[str]],
    sweep_id: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, command = swept
    trial = noted(store, command, **({"id": sweep_id} if sweep_id else {}))
    folder = ended(leftovers.spool_dir(store, sweep_id), trial, 1.0)
    assert store.local is not None
    shutil.rmtree(store.local)
    begun: list[object] = []
    monkeypatch.setattr(session, "_run", lambda planned, *more: begun.append(planned.todo))
    monkeypatch.setattr(grid, "_answer", lambda *more: 0)
    for _ in range(2):
        assert grid.main(command) == 0
        assert f"{folder.parent.parent} holds results of another sweep" in capsys.readouterr().err
    assert len(begun) == 2 and store.trial(trial) is None
    assert (folder / "ending.json").exists()


@pytest.mark.parametrize("left", ["trials", "steps", "checkpoints", "tune"])
def test_a_sweep_without_its_description_is_not_gone_on_with(
    swept: tuple[Store, list[str]], left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, command = swept
    store.write_bytes(f"{left}/r8-s0/x", b"")
    assert grid.main(command) == 2
    assert f"holds parts of a sweep ({left}) but no sweep.json" in capsys.readouterr().err


@pytest.mark.parametrize("odd", ["../../x", "", 7.5, ["a"], "A"])
def test_an_id_that_we_never_draw_is_refused(swept: tuple[Store, list[str]], odd: object) -> None:
    store, command = swept
    noted(store, command)
    store.write_sweep({**store.read_sweep(), "id": odd})
    assert grid.main(command) == 2
