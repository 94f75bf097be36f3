"""A checkpoint in a sweep's folder is whole or none, and there is always a whole one once there was."""

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import LockLost
from sweep.store.checkpoints import SEAL, fetch, newest, seal_of, upload
from sweep.store.lock import held
from sweep.store.store import Store
from tests.test_lock import elsewhere, locked_by

HOME = "checkpoints/a"
OLD = "tune/{}/a/checkpoint_000000"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "sweep"))


def made(folder: Path, step: int) -> Path:
    """What a trainer saved at a step: files, and a folder with one."""
    (folder / "best").mkdir(parents=True)
    (folder / "weights").write_text("x" * step)
    (folder / "best" / "weights").write_text("best")
    return folder


def there(store: Store, step: int, place: str | None = None, micro_batch: int | None = None) -> Path:
    """A whole checkpoint in the store, by hand; returns its folder."""
    folder = made(Path(store.location, place or f"{HOME}/{step}"), step)
    (folder / SEAL).write_text(json.dumps(seal_of(folder, step, None, micro_batch)))
    return folder


def name_of(store: Store, micro_batch: int | None = None) -> str | None:
    found = newest(store, "a", micro_batch)
    return found.name if found else None


def test_the_newest_whole_one_is_found_and_fetched_and_others_are_not_taken_for_one(
    store: Store, tmp_path: Path
) -> None:
    there(store, 10)
    there(store, 20)
    (there(store, 30) / "weights").write_text("cut off")
    (there(store, 40) / SEAL).unlink()
    (there(store, 50) / SEAL).write_text('{"step": 5')
    assert name_of(store) == f"{HOME}/20"
    found = fetch(store, "a", tmp_path / "here")
    assert found is not None and (found.step, found.outcome, found.name) == (20, None, f"{HOME}/20")
    assert (found.folder / "weights").read_text() == "x" * 20 and (found.folder / "best" / "weights").exists()


def test_a_trial_without_one_has_none(store: Store, tmp_path: Path) -> None:
    assert name_of(store) is None
    assert fetch(store, "a", tmp_path / "here") is None


def test_one_of_another_micro_batch_is_none_to_resume_from(store: Store, tmp_path: Path) -> None:
    there(store, 20)
    there(store, 30, micro_batch=4)
    there(store, 10, micro_batch=2)
    found = {size: fetch(store, "a", tmp_path / str(size), size) for size in (None, 4, 2, 1)}
    assert {size: one and one.step for size, one in found.items()} == {None: 20, 4: 30, 2: 10, 1: None}


def test_those_of_the_old_layout_count_where_there_is_none_of_this(store: Store) -> None:
    there(store, 10, OLD.format("run-1"))
    assert name_of(store) == OLD.format("run-1")
    there(store, 30, OLD.format("run-2"))
    there(store, 20, "tune/kept/a/checkpoint")
    assert name_of(store) == OLD.format("run-2")
    there(store, 5)
    assert name_of(store) == f"{HOME}/5"


# --- uploads ------------------------------------------------------------------------------------------------------------


def test_an_upload_takes_the_place_of_what_was_there(store: Store, tmp_path: Path) -> None:
    folder = made(tmp_path / "made", 10)
    assert upload(store, "a", folder, seal_of(folder, 10)) == f"{HOME}/10" == name_of(store)
    there(store, 15).joinpath(SEAL).unlink()  # an upload that was cut off
    assert upload(store, "a", folder, seal_of(folder, 20)) == f"{HOME}/20" == name_of(store)
    assert store.folders(HOME) == [f"{HOME}/20"]
    assert (folder / "weights").exists() and not (folder / SEAL).exists()


def test_the_final_one_of_the_same_step_does_not_touch_the_one_to_resume_from_until_it_is_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(store, 20)
    folder = made(tmp_path / "made", 7)
    seal = seal_of(folder, 20, {"status": "completed"})
    with monkeypatch.context() as killed:
        killed.setattr(Store, "write_bytes", gone)
        with pytest.raises(KeyboardInterrupt):
            upload(store, "a", folder, seal)
    assert name_of(store) == f"{HOME}/20"
    assert upload(store, "a", folder, seal) == f"{HOME}/final" == name_of(store)
    assert store.folders(HOME) == [f"{HOME}/final"]


def gone(*given: Any) -> Any:
    raise KeyboardInterrupt


class Killed(Exception):
    """Stands for the end of the process."""


def test_wherever_an_upload_is_killed_there_is_a_whole_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each call that changes the store."""
    folder, calls = made(tmp_path / "made", 20), ("upload", "write_bytes", "remove_folder")
    killed_at = 0
    for name in calls:
        real = getattr(Store, name)

        def dying(self: Store, *given: Any, real: Any = real) -> None:
            nonlocal killed_at
            killed_at -= 1
            if killed_at == 0:
                raise Killed
            real(self, *given)
            killed_at -= 1
            if killed_at == 0:
                raise Killed

        monkeypatch.setattr(Store, name, dying)
    found = []
    for moment in itertools.count(1):
        killed_at = 0
        shutil.rmtree(store.location, ignore_errors=True)
        there(store, 10)
        there(store, 20).joinpath(SEAL).unlink()  # killed before
        killed_at = moment
        try:
            upload(store, "a", folder, seal_of(folder, 20))
        except Killed:
            found.append(name_of(store))
        else:
            break
    assert found == [f"{HOME}/10"] * 5 + [f"{HOME}/20"] * 3
    assert store.folders(HOME) == [f"{HOME}/20"]


def test_the_seal_is_written_when_all_files_are_there_and_the_older_one_still_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(store, 10)
    folder, real = made(tmp_path / "made", 20), Store.write_bytes
    before: list[set[str]] = []

    def sealing(self: Store, name: str, data: bytes) -> None:
        before.append(set(self.sizes(HOME)))
        real(self, name, data)

    monkeypatch.setattr(Store, "write_bytes", sealing)
    upload(store, "a", folder, seal_of(folder, 20))
    older = {f"{HOME}/10/{name}" for name in ("weights", "best/weights", SEAL)}
    assert before == [older | {f"{HOME}/20/weights", f"{HOME}/20/best/weights"}]


def test_an_upload_that_hung_removes_nothing_that_has_come_meanwhile(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(store, 10)
    folder, real = made(tmp_path / "made", 20), Store.upload

    def hung(self: Store, *given: Any) -> None:
        real(self, *given)
        there(self, 30)  # another attempt's, which has removed the older one
        shutil.rmtree(f"{self.location}/{HOME}/10")

    monkeypatch.setattr(Store, "upload", hung)
    upload(store, "a", folder, seal_of(folder, 20))
    assert store.folders(HOME) == [f"{HOME}/20", f"{HOME}/30"]


def test_a_step_that_is_uploaded_after_all_leaves_the_final_one_alone(store: Store, tmp_path: Path) -> None:
    """By an attempt that was given up: its node was cut off, and another has finished the trial."""
    folder = made(tmp_path / "made", 20)
    upload(store, "a", folder, seal_of(folder, 30, {"status": "completed"}))
    upload(store, "a", folder, seal_of(folder, 20))
    assert name_of(store) == f"{HOME}/final"


def test_a_loser_of_the_lock_uploads_and_removes_nothing(store: Store, tmp_path: Path) -> None:
    folder = made(tmp_path / "made", 20)
    with held(store) as mine:
        upload(mine, "a", folder, seal_of(folder, 10))
        locked_by(store, elsewhere(silent_for=0))
        for call in (
            lambda: upload(mine, "a", folder, seal_of(folder, 20)),
            lambda: mine.remove_folder(f"{HOME}/10"),
        ):
            with pytest.raises(LockLost):
                call()
    assert store.folders(HOME) == [f"{HOME}/10"] and name_of(store) == f"{HOME}/10"


def test_a_copy_that_was_killed_at_whatever_byte_is_never_taken(store: Store) -> None:
    """Whatever the order in which the files were copied, the seal's included."""
    whole = there(store, 20)
    files = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    shutil.rmtree(whole)
    there(store, 10)
    total = sum(map(len, files.values()))
    for order in itertools.permutations(files):
        for killed_at in {*range(0, total, 7), total - 1}:
            copy_some(files, order, killed_at, whole)
            assert name_of(store) == f"{HOME}/10"
            shutil.rmtree(whole)
    copy_some(files, list(files), total, whole)
    assert name_of(store) == f"{HOME}/20"


def copy_some(files: dict[Path, bytes], order: Sequence[Path], count: int, into: Path) -> None:
    """Copies so many bytes of the files, one after the other."""
    into.mkdir()
    for name in order:
        (into / name).parent.mkdir(exist_ok=True)
        (into / name).write_bytes(files[name][:count])
        count -= len(files[name])
        if count <= 0:
            return


def test_a_listing_while_an_older_one_is_removed_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    there(store, 10)
    fs, root = store.where
    asked: list[Any] = []

    class Changing:
        type_name = "local"

        def get_file_info(self, selector: Any) -> Any:
            asked.append(selector)
            if len(asked) == 1:
                raise FileNotFoundError("Cannot list directory")
            return fs.get_file_info(selector)

    monkeypatch.setattr(Store, "where", (Changing(), root))
    assert store.folders(HOME) == [f"{HOME}/10"] and len(asked) == 2
