"""An attempt whose store goes away, or whose lock is lost: nothing is lost, and nothing is written without the lock."""

import time
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import LockLost, StoreUnreachable
from sweep.store import checkpoints, leftovers
from sweep.store.store import Store
from sweep.trial.attempt import Attempt
from tests.attempts import FINAL, NAME, Toy, attempt_of, end_of, everything, folder, no_room, reached, row_of, sweep_of
from tests.integration.faults import made
from tests.test_lock import elsewhere, locked_by


class Refusing:
    """A folder that may not be written, as far as we are told."""

    def __init__(self, tmp_path: Path) -> None:
        self.location = str(tmp_path / "store")
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Refusing":
        return self

    def __exit__(self, *given: Any) -> None:
        self.fix()

    def fail(self) -> None:
        self._patch.setattr(Store, "write_bytes", no_room)
        self._patch.setattr(Store, "upload", no_room)

    def fix(self) -> None:
        self._patch.undo()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # moto's server leaves its sockets open
@pytest.mark.parametrize(
    ("kind", "comes_back"),
    [
        *(pytest.param("full", back, marks=pytest.mark.mount) for back in (True, False)),
        *(pytest.param("read-only", back, marks=pytest.mark.mount) for back in (True, False)),
        ("endpoint", True),  # one that stays away: tests/integration/test_storage.py
        ("refusing", True),
        ("refusing", False),
    ],
)
def test_a_store_that_goes_away_in_mid_training_gets_all_of_it_when_it_is_back(
    kind: str, comes_back: bool, toy: Toy, tmp_path: Path
) -> None:
    """In time, or for the next attempt, which has nothing left to do."""
    with made(kind, tmp_path) if kind != "refusing" else Refusing(tmp_path) as fault:
        store = Store(f"{fault.location}/one")
        sweep = sweep_of(store, tmp_path / "spool", patience_s=60.0 if comes_back else 0.1)
        toy.at |= {"step 1": fault.fail} | ({"evaluation": fault.fix} if comes_back else {})
        attempt = attempt_of(sweep, store, toy)
        attempt.start()
        if not comes_back:
            with pytest.raises(StoreUnreachable, match="What it measured is kept in"):
                end_of(attempt)
            fault.fix()
            toy.at.clear()
            attempt = attempt_of(sweep, store, toy)
            attempt.start()
        assert end_of(attempt)["status"] == "completed"
        row = row_of(store)
        assert (row["status"], row["attempts"], row["steps"], row["dropped_rows"]) == ("completed", 1, 2, 0)
        assert row["checkpoint"] == FINAL and store.read_bytes(f"{FINAL}/adapter") == b"weights"
        found = checkpoints.newest(store, NAME)
        assert found is not None and found.name == FINAL
        assert store.steps(NAME).column("step").to_pylist() == [1, 2] and store.evals().num_rows == 1
        assert not leftovers.pending(tmp_path / "spool")


def test_an_ending_that_has_no_room_anywhere_is_the_stores_fault_and_the_next_attempt_makes_it_again(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep and the spool on one disk, which is full. Only StoreUnreachable stops the sweep: another error is the trial's."""
    with Refusing(tmp_path) as fault:
        store = Store(f"{fault.location}/one")
        sweep = sweep_of(store, tmp_path / "spool", patience_s=0.1)
        toy.at["evaluation"] = fault.fail
        attempt = attempt_of(sweep, store, toy)
        with monkeypatch.context() as full:
            full.setattr("sweep.store.leftovers.Ending.save", no_room)
            attempt.start()
            with pytest.raises(StoreUnreachable):
                end_of(attempt)
        fault.fix()
        attempt = attempt_of(sweep, store, Toy())
        attempt.start()
        assert end_of(attempt)["checkpoint"] == FINAL
        row = row_of(store)
        assert (row["status"], row["attempts"], row["steps"], row["eval_loss"]) == ("completed", 2, 2, 1.0)
        assert store.steps(NAME).column("step").to_pylist() == [1, 2] and store.evals().num_rows == 1
        assert not leftovers.pending(tmp_path / "spool")


def test_a_final_adapter_is_not_sealed_before_its_held_out_rows_are_in_the_store(
    attempt: Attempt, toy: Toy, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who finds the seal does not evaluate again."""
    real = Store.write_bytes

    def refuses(self: Store, name: str, data: bytes) -> None:
        if name.startswith("evals/"):
            no_room()
        real(self, name, data)

    with monkeypatch.context() as away:
        away.setattr(Store, "write_bytes", refuses)
        away.setattr("sweep.trial.running.retry", lambda action, seconds: action())  # there is time left for more
        attempt.start()
        with pytest.raises(StoreUnreachable):
            end_of(attempt)
    assert not store.exists(FINAL)
    (kept,) = leftovers.pending(tmp_path / "spool")
    leftovers.upload_all(store, tmp_path / "spool")
    assert row_of(store)["checkpoint"] == FINAL and store.evals().num_rows == 1 and not kept.exists()


@pytest.mark.parametrize("stage", ["step 1", "evaluation"])
def test_a_worker_whose_driver_has_lost_the_lock_writes_nothing_more_and_stops(
    stage: str, attempt: Attempt, toy: Toy, store: Store
) -> None:
    there, go_on = reached(stage, toy)
    attempt.start()
    assert there.wait(60)
    running = attempt._running
    assert running is not None and running.reporter.flush(60) == 0
    while running._uploads._waiting is not None:
        time.sleep(0.01)
    locked_by(Store(store.location), elsewhere(silent_for=0))
    before = everything(store)
    go_on.set()
    with pytest.raises(LockLost, match="taken over by another driver"):
        end_of(attempt)
    attempt.close()  # it has been said
    assert everything(store) == before


def test_a_training_whose_lock_is_lost_is_told_to_stop(attempt: Attempt, toy: Toy, store: Store) -> None:
    """By the first write that fails for it: here an upload's."""

    def loses_the_lock() -> None:
        locked_by(Store(store.location), elsewhere(silent_for=0))
        toy.context.save(folder(toy.context.work_dir / "another"), 1)
        while not toy.context.should_stop():
            time.sleep(0.01)

    toy.at["step 1"] = loses_the_lock
    attempt.start()
    with pytest.raises(LockLost):
        end_of(attempt)
    assert store.trial(NAME) is None


def test_a_checkpoint_is_not_uploaded_whose_rows_are_kept_on_this_machine(attempt: Attempt) -> None:
    """Another machine would resume from it without them."""
    attempt.start()
    end_of(attempt)
    running = attempt._running
    assert running is not None and running._rows_stored()
    running.reporter.kept = 1
    assert not running._rows_stored()
