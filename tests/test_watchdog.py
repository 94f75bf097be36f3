"""The watchdog, with toys in place of Ray, and the process that outlives a driver."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.errors import LockLost
from sweep.run import watchdog
from sweep.run.watchdog import watching
from sweep.store.lock import held
from sweep.store.store import Store
from tests.test_lock import elsewhere, locked_by

DRIVE = """
import os, sys
from sweep.store import lock
from sweep.run import watchdog
from sweep.store.store import Store
with lock.held(Store(sys.argv[1])) as store, watchdog.witnessed(store) as witness:
    {end}
"""


def driver(tmp_path: Path, end: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", DRIVE.format(end=end), str(tmp_path / "sweep")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_driver_that_ends_by_itself_needs_no_words(tmp_path: Path) -> None:
    done = driver(tmp_path, "pass")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "sweep" / "lock.json").exists()


@pytest.mark.parametrize(
    ("end", "why"),
    [("witness.end('its legs are gone')", "its legs are gone"), ("os._exit(1)", watchdog.GONE)],
    ids=["it says why", "native code ends it"],
)
def test_a_driver_that_is_ended_leaves_one_line_and_no_lock(tmp_path: Path, end: str, why: str) -> None:
    done = driver(tmp_path, end)
    assert done.returncode == 1
    assert done.stderr == f"The sweep was stopped: {why}. {watchdog.GO_ON}\n"
    assert not (tmp_path / "sweep" / "lock.json").exists()


def test_another_drivers_lock_is_not_given_back(tmp_path: Path) -> None:
    steal = "store.write_bytes('lock.json', b'{}'); os._exit(1)"
    assert driver(tmp_path, steal).returncode == 1
    assert (tmp_path / "sweep" / "lock.json").read_bytes() == b"{}"


def said_of(look: watchdog.Look, alive: Callable[[], bool] = lambda: False) -> str:
    """What the watchdog makes of a look, and of whether those who are asked are there."""
    heard, told = threading.Event(), []

    def lost(why: str) -> None:
        told.append(why)
        heard.set()

    with watching(look, lost, alive, every=0.001):
        assert heard.wait(60)
    return str(told[0])


def test_what_a_look_finds_is_passed_on_once() -> None:
    looks = iter([None, None, "the raylet has ended"])
    assert said_of(lambda: next(looks)) == "the raylet has ended"


def test_a_look_that_raises_is_a_loss() -> None:
    def look() -> str | None:
        raise ConnectionError("nobody there\nand more")

    assert said_of(look) == "ConnectionError: nobody there"


def silence() -> str | None:
    threading.Event().wait()
    return None


def test_a_look_that_does_not_come_back_is_a_loss_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ANSWER_S", 0)
    assert said_of(silence) == "no answer for 0 s"


def test_services_that_are_there_may_answer_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ANSWER_S", 0)
    slept_enough = threading.Event()
    looks = iter([None, None, "the raylet has ended"])

    def slow() -> str | None:
        assert slept_enough.wait(60)
        return next(looks)

    def alive() -> bool:
        slept_enough.set()
        return True

    assert said_of(slow, alive) == "the raylet has ended"


def test_services_that_are_there_and_never_answer_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ANSWER_S", 0)
    monkeypatch.setattr(watchdog, "PATIENCE_S", 1)
    assert said_of(silence, lambda: True) == "no answer for 1 s"


def test_whether_somebody_listens_does_not_depend_on_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:  # accepts nothing
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        assert watchdog.listens(address)
    assert not watchdog.listens(address)


def test_ray_is_given_up_within_half_a_minute_before_its_own_code_ends_the_process() -> None:
    assert watchdog.LOOK_S + watchdog.ANSWER_S <= 30


def test_the_loser_of_a_lock_is_told_by_its_own_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.store.lock.BEAT_S", 0.01)
    store, heard, told = Store(str(tmp_path / "sweep")), threading.Event(), []

    def lost(error: LockLost) -> None:
        told.append(str(error))
        heard.set()

    with held(store, lost):
        locked_by(store, replace(elsewhere(silent_for=0), host="far", pid=7))
        assert heard.wait(60)
    assert "was taken over by another driver (pid 7 on far, since" in told[0]
