"""Two drivers on one sweep: the second is refused, unless the first is dead."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sweep.errors import StoreError, SweepInUse
from sweep.store import lock
from sweep.store.lock import Holder, held
from sweep.store.store import Store

HOLD = """
import sys
from sweep.store import lock
from sweep.store import store
with lock.held(store.Store(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "sweep"))


@pytest.fixture(params=["local disk", "object store"])
def anywhere(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store as it is, and one that takes the way of object stores."""
    if request.param == "object store":
        monkeypatch.setattr(Store, "local", None)
        monkeypatch.setattr(lock, "SETTLE_S", 0.05)
    return store


def locked_by(store: Store, holder: Holder) -> None:
    store.write_bytes("lock.json", json.dumps(asdict(holder)).encode())


def elsewhere(silent_for: float) -> Holder:
    return replace(Holder.me(), host="far", place="far away", nonce="other", beat=time.time() - silent_for)


def test_the_second_is_told_who_the_first_is_and_the_folder_is_free_afterwards(anywhere: Store) -> None:
    with held(anywhere):
        me = Holder.me()
        with pytest.raises(SweepInUse, match=rf"pid {me.pid} on {me.host}, since 20\d\d-.*--name"), held(anywhere):
            pass
        assert anywhere.exists("lock.json")
    assert not anywhere.exists("lock.json")
    with held(anywhere):
        pass


def test_an_error_gives_the_lock_back(anywhere: Store) -> None:
    with pytest.raises(KeyboardInterrupt), held(anywhere):
        raise KeyboardInterrupt
    assert not anywhere.exists("lock.json")


def test_a_killed_drivers_lock_is_taken_over_at_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", HOLD, store.location]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        with pytest.raises(SweepInUse, match=f"pid {first.pid} "), held(store):
            pass
        first.kill()
        first.wait()
        with held(store):
            assert f"Took over the lock of a driver that is gone (pid {first.pid} on" in capsys.readouterr().err
        first.communicate()


def test_a_pid_that_was_given_away_again_is_no_driver(store: Store) -> None:
    locked_by(store, replace(Holder.me(), began="1", nonce="old"))
    with held(store):
        pass


def test_a_driver_elsewhere_is_dead_after_a_while_without_a_sign_of_life(anywhere: Store) -> None:
    locked_by(anywhere, elsewhere(silent_for=lock.STALE_S - 5))
    with pytest.raises(SweepInUse, match="on far, since"), held(anywhere):
        pass
    locked_by(anywhere, elsewhere(silent_for=lock.STALE_S + 5))
    with held(anywhere):
        pass


def test_signs_of_life_are_given(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with held(store):
        first = json.loads(store.read_bytes("lock.json"))
        deadline = time.monotonic() + 30
        while (now := json.loads(store.read_bytes("lock.json")))["beat"] <= first["beat"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert {**now, "beat": 0} == {**first, "beat": 0}
    assert not store.exists("lock.json")


def contend(store: Store, drivers: int) -> list[str]:
    """Lets drivers try at once; whoever has the lock keeps it until all others were refused. How each fared."""
    ended: list[str] = []
    ready, leave = threading.Barrier(drivers), threading.Event()

    def end(how: str) -> None:
        ended.append(how)
        if len(ended) == drivers:
            leave.set()

    def drive() -> None:
        ready.wait()
        try:
            with held(store):
                end("had it")
                leave.wait(60)
        except SweepInUse:
            end("refused")

    threads = [threading.Thread(target=drive) for _ in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(ended)


def test_of_many_that_take_a_dead_drivers_lock_over_one_has_it(store: Store) -> None:
    for _ in range(20):
        locked_by(store, elsewhere(silent_for=1_000))
        assert contend(store, 8) == ["had it"] + ["refused"] * 7


def test_of_two_that_saw_no_lock_one_makes_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = lock._holder, iter([None])
    with held(store):
        monkeypatch.setattr(lock, "_holder", lambda store: next(looks, real(store)))
        with pytest.raises(SweepInUse), held(store):
            pass


def test_a_lock_that_another_took_meanwhile_is_left_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a machine that slept for long."""
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    rival = elsewhere(silent_for=0)
    with held(store):
        first = json.loads(store.read_bytes("lock.json"))["beat"]
        while json.loads(store.read_bytes("lock.json"))["beat"] == first:
            time.sleep(0.01)
        with monkeypatch.context() as still:  # no beat between look and write
            still.setattr(lock, "_holder", lambda store: None)
            time.sleep(0.1)
            locked_by(store, rival)
        time.sleep(0.1)  # several beats
        assert json.loads(store.read_bytes("lock.json")) == asdict(rival)
    assert json.loads(store.read_bytes("lock.json")) == asdict(rival)


def test_the_last_of_two_that_write_to_an_object_store_has_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "local", None)
    rival = elsewhere(silent_for=0)
    monkeypatch.setattr(time, "sleep", lambda seconds: locked_by(store, rival))
    with pytest.raises(SweepInUse, match="on far, since"), held(store):
        pass
    assert json.loads(store.read_bytes("lock.json"))["nonce"] == rival.nonce


def test_a_file_that_is_no_lock_counts_once_it_is_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("lock.json", b"")
    with pytest.raises(SweepInUse, match="an unknown host"), held(store):
        pass
    monkeypatch.setattr(lock, "STALE_S", -1.0)
    with held(store):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"), held(Store(str(tmp_path / "file" / "sweep"))):
        pass
