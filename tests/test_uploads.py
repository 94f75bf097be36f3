"""Checkpoints on their way: the newest, once its rows are in the store, and never in training's way. With a clock of the tests' own."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.trial.reporting import Clock
from sweep.trial.uploads import RETRY_S, Saved, Uploads


class Store:
    """Notes what is uploaded; can be made to refuse, and to hold an upload up."""

    def __init__(self) -> None:
        self.got: list[tuple[int, str]] = []
        self.tried: list[int] = []
        self.rows_stored = True
        self.refuses = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.there = threading.Event()

    def upload(self, saved: Saved) -> str:
        self.tried.append(saved.step)
        self.there.set()
        assert self.go_on.wait(60)
        if self.refuses:
            raise OSError("no room")
        self.got.append((saved.step, (saved.folder / "weights").read_text()))
        return f"checkpoints/a/{saved.step}"


class Quick(Clock):
    """Time that passes by itself whenever someone waits for it to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if not condition.wait(60 if seconds is None else 0.01) and seconds is not None:
            self.time += min(seconds, 60.0)  # in steps: the other thread may be late on a busy machine


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def uploads(store: Store, tmp_path: Path) -> Iterator[Uploads]:
    (tmp_path / "work").mkdir()
    made = Uploads(store.upload, lambda: store.rows_stored, tmp_path / "work", clock=Quick())
    yield made
    store.go_on.set()
    made.close(0)
    assert not made._thread.is_alive()


def made(folder: Path, step: int) -> Path:
    """What a trainer saved at a step."""
    made = folder / f"made-{step}"
    made.mkdir()
    (made / "weights").write_text(f"of step {step}")
    return made


def folders(tmp_path: Path) -> int:
    return len(list((tmp_path / "work").iterdir()))


def test_what_is_offered_is_uploaded_and_no_longer_on_disk(uploads: Uploads, store: Store, tmp_path: Path) -> None:
    uploads.offer(made(tmp_path, 5), 5)
    assert uploads.close(60) is None
    assert store.got == [(5, "of step 5")] and uploads.newest == "checkpoints/a/5" and folders(tmp_path) == 0


def test_a_newer_one_replaces_one_that_waits_but_not_the_one_that_is_being_uploaded(
    uploads: Uploads, store: Store, tmp_path: Path
) -> None:
    store.go_on.clear()
    uploads.offer(made(tmp_path, 5), 5)
    assert store.there.wait(60)
    for step in (10, 15, 20):  # none of this waits for the store
        uploads.offer(made(tmp_path, step), step)
    assert folders(tmp_path) == 2  # the one that is under way, and the newest
    store.go_on.set()
    assert uploads.close(60) is None
    assert store.got == [(5, "of step 5"), (20, "of step 20")] and folders(tmp_path) == 0


@pytest.mark.parametrize("newer", [True, False])
def test_one_that_the_store_refused_is_tried_again_unless_there_is_a_newer_one(
    newer: bool, uploads: Uploads, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = True
    store.go_on.clear()
    uploads.offer(made(tmp_path, 5), 5)
    assert store.there.wait(60)
    if newer:
        uploads.offer(made(tmp_path, 10), 10)
    store.go_on.set()
    while len(store.tried) < 3:
        time.sleep(0.01)
    store.refuses = False
    assert uploads.close(1e6) is None
    assert store.got == [(10, "of step 10") if newer else (5, "of step 5")]
    assert store.tried[0] == 5 and set(store.tried[1:]) == {10 if newer else 5}
    assert caplog.text.count("The store refused a checkpoint") == caplog.text.count("accepts checkpoints again") == 1
    assert uploads._clock.now() >= RETRY_S and folders(tmp_path) == 0


def test_what_the_store_does_not_take_in_time_is_given_back(uploads: Uploads, store: Store, tmp_path: Path) -> None:
    store.refuses = True
    uploads.offer(made(tmp_path, 5), 5)
    uploads.offer(made(tmp_path, 6), 6, {"status": "completed"})
    rest = uploads.close(30)
    assert rest is not None and (rest.step, rest.outcome) == (6, {"status": "completed"})
    assert (rest.folder / "weights").read_text() == "of step 6" and uploads.newest is None


def test_a_store_that_hangs_is_left_behind(
    uploads: Uploads, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.trial.uploads.JOIN_S", 0.01)
    store.go_on.clear()
    uploads.offer(made(tmp_path, 5), 5)
    assert store.there.wait(60)
    rest = uploads.close(30)
    assert rest is not None and rest.step == 5


def test_none_is_uploaded_before_the_rows_up_to_it(uploads: Uploads, store: Store, tmp_path: Path) -> None:
    store.rows_stored = False
    uploads.offer(made(tmp_path, 5), 5)
    assert uploads.close(30) is not None and store.tried == []


@pytest.mark.parametrize(
    ("reported", "trained", "kept"), [(4, False, False), (4, True, True), (5, False, True), (None, False, True)]
)
def test_a_row_that_waits_for_its_evaluation_holds_its_checkpoint_back(
    reported: int | None, trained: bool, kept: bool, uploads: Uploads, store: Store, tmp_path: Path
) -> None:
    """A trainable that reports no steps, or has come to its end, has nothing to wait for."""
    if reported is not None:
        uploads.reported(reported)
    if trained:
        uploads.trained()
    uploads.offer(made(tmp_path, 5), 5)
    assert (uploads.close(30) is None) == kept == bool(store.got)


def test_one_that_waits_for_its_row_goes_when_the_row_comes(uploads: Uploads, store: Store, tmp_path: Path) -> None:
    uploads.reported(4)
    uploads.offer(made(tmp_path, 5), 5)
    assert not store.there.wait(0.05)
    uploads.reported(5)
    assert store.there.wait(60)
    assert uploads.close(60) is None and store.got == [(5, "of step 5")]


def test_whatever_an_upload_raises_training_goes_on(uploads: Uploads, store: Store, tmp_path: Path) -> None:
    def broken(saved: Saved) -> Any:
        raise ZeroDivisionError

    uploads._upload = broken
    uploads.offer(made(tmp_path, 5), 5)
    assert uploads.close(5) is not None
