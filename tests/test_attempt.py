"""An attempt of a trial, driven by hand, without Ray: how it ends, whatever it is told and whatever refuses or is killed."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.contract.trainable import Context, Trainable
from sweep.errors import LockLost, StoreUnreachable
from sweep.store import checkpoints, leftovers
from sweep.store.lock import held
from sweep.store.store import Row, Store
from sweep.trial.attempt import Attempt, Ended, Progress
from tests.attempts import NAME, attempt_of, end_of, sweep_of
from tests.integration.faults import made
from tests.test_lock import elsewhere, locked_by
from trainables.synthetic import Synthetic, loss_at

FINAL = f"checkpoints/{NAME}/final"


class Toy(Trainable):
    """Two steps, a checkpoint after each, and an evaluation; at each of its stages the test has its say."""

    def __init__(self) -> None:
        self.at: dict[str, Callable[[], None]] = {}
        self.context: Context

    def check(self, *given: Any) -> list[str]:
        return []

    def prepare(self, *given: Any) -> tuple[Any, Row]:
        return None, {}

    def run(self, context: Context) -> Row:
        self.context = context
        first = context.resume_from.step + 1 if context.resume_from else 1
        for step in range(first, 3):
            context.report({"step": step, "loss": 1.0 / step})
            context.save(folder(context.work_dir / f"checkpoint-{step}"), step)
            self._reach(f"step {step}")
            if context.should_stop():
                return {"train_loss": 1.0}
        self._reach("evaluation")
        context.evals = [{"example_id": 0, "loss_sum": 1.0, "tokens": 1, "bytes": 4}]
        context.final = folder(context.work_dir / "final")
        return {"train_loss": 0.5, "eval_loss": 1.0}

    def _reach(self, stage: str) -> None:
        self.at.get(stage, lambda: None)()


def folder(path: Path) -> Path:
    path.mkdir()
    (path / "adapter").write_text("weights")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with held(Store(str(tmp_path / "sweep"))) as store:
        yield store


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def attempt(toy: Toy, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attempt]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    made = attempt_of(sweep_of(store, tmp_path / "spool"), store, toy)
    yield made
    with suppress(LockLost, StoreUnreachable):
        made.close()
    assert not list((tmp_path / "tmp").iterdir())  # whatever happened
    assert not [one.name for one in threading.enumerate() if one.name in ("training", "checkpoints")]


def row_of(store: Store) -> Row:
    (row,) = store.trials().to_pylist()
    return dict(row)


def reached(stage: str, toy: Toy) -> tuple[threading.Event, threading.Event]:
    """Has the toy wait at a stage: (it is there, it may go on)."""
    there, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        assert go_on.wait(60)

    toy.at[stage] = wait
    return there, go_on


def stopped_at(stage: str, attempt: Attempt, toy: Toy) -> None:
    """It is told to stop while it is at a stage: by a scheduler, at an interrupt, or as its process ends."""
    there, go_on = reached(stage, toy)
    attempt.start()
    assert there.wait(60)
    attempt.stop("a test stopped it")
    go_on.set()
    attempt.close()


# --- polls and endings --------------------------------------------------------------------------------------------------


def test_polls_give_every_row_once_then_the_ending_with_the_checkpoint(
    attempt: Attempt, toy: Toy, store: Store
) -> None:
    there, go_on = reached("evaluation", toy)
    toy.at["step 1"] = lambda: toy.context.phase("saving", 7)
    attempt.start()
    assert there.wait(60)
    found: list[Progress | Ended] = [attempt.poll(0.2)]
    assert isinstance(found[0], Progress) and [row["step"] for row in found[0].rows] == [1, 2]
    toy.context.phase("evaluating", 3)
    told, again = attempt.poll(0.0), attempt.poll(0.0)
    assert told == Progress(phase="evaluating", rows_left=3) and again == Progress()
    go_on.set()
    outcome = end_of(attempt)
    assert outcome == {"status": "completed", "train_loss": 0.5, "eval_loss": 1.0, "steps": 2, "checkpoint": FINAL}
    assert isinstance(attempt.poll(0.0), Ended)
    assert row_of(store)["checkpoint"] == FINAL and store.read_bytes(f"{FINAL}/adapter") == b"weights"
    assert store.folders(f"checkpoints/{NAME}") == [FINAL]


def test_rows_that_come_as_training_ends_are_given_before_the_ending(attempt: Attempt, toy: Toy) -> None:
    attempt.start()
    assert attempt._running is not None and attempt._running.ended.wait(60)
    found = attempt.poll(0.0)
    assert isinstance(found, Progress) and [row["step"] for row in found.rows] == [1, 2]
    assert isinstance(attempt.poll(0.0), Ended)


def test_a_trial_that_only_knows_that_it_is_to_stop_is_interrupted_and_nothing_of_it_is_final(
    attempt: Attempt, toy: Toy, store: Store
) -> None:
    stopped_at("step 1", attempt, toy)
    row = row_of(store)
    assert (row["status"], row["steps"], row["train_loss"], row["eval_loss"]) == ("interrupted", 1, 1.0, None)
    assert row["checkpoint"] == f"checkpoints/{NAME}/1" and row["pruned_step"] is None
    assert "Stopped before its last step: a test stopped it." in store.read_log(NAME)


def test_a_trial_that_is_told_to_stop_while_it_evaluates_is_completed(attempt: Attempt, toy: Toy, store: Store) -> None:
    stopped_at("evaluation", attempt, toy)
    row = row_of(store)
    assert (row["status"], row["steps"], row["eval_loss"]) == ("completed", 2, 1.0)
    assert row["checkpoint"] == FINAL and not store.read_log(NAME)
    seal = json.loads(store.read_bytes(f"{FINAL}/{checkpoints.SEAL}"))
    assert (seal["step"], seal["outcome"]["status"]) == (2, "completed")


def test_a_result_of_a_training_that_was_cut_short_is_not_final(attempt: Attempt, toy: Toy, store: Store) -> None:
    def hand_over() -> None:
        toy.context.final = folder(toy.context.work_dir / "early")
        attempt.stop("a test stopped it")

    toy.at["step 1"] = hand_over
    attempt.start()
    assert end_of(attempt)["status"] == "interrupted"
    assert not store.exists(FINAL)


@pytest.mark.parametrize("error", [RuntimeError("in mid-training"), SystemExit("in mid-training")])
def test_a_trial_ends_though_its_log_cannot_be_written_and_its_training_raises(
    error: BaseException, attempt: Attempt, toy: Toy, store: Store, tmp_path: Path
) -> None:
    """A full disk: even the traceback has no place."""
    log = tmp_path / "spool" / NAME / "1" / "log"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")

    def fail() -> None:
        raise error

    toy.at["step 2"] = fail
    attempt.start()
    outcome = end_of(attempt)
    assert (outcome["status"], outcome["error_message"]) == ("failed", "in mid-training")


def no_room(*given: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_training_thread_that_dies_in_our_own_code_ends_the_trial(
    attempt: Attempt, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.trial.running.Running._result", no_room)
    attempt.start()
    outcome = end_of(attempt)
    assert (outcome["status"], outcome["error_type"]) == ("failed", "OSError")


def test_what_dies_as_the_end_is_written_is_raised_once_and_nothing_is_left_running(
    attempt: Attempt, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("sweep.store.leftovers.upload", broken)
    attempt.start()
    with pytest.raises(ZeroDivisionError):
        end_of(attempt)
    attempt.close()
    assert store.trial(NAME) is None


# --- a store that goes away ---------------------------------------------------------------------------------------------


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


# --- a lock that is lost ------------------------------------------------------------------------------------------------


def everything(store: Store) -> dict[str, bytes]:
    assert store.local is not None
    return {str(path): path.read_bytes() for path in store.local.rglob("*") if path.is_file()}


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


# --- resuming -----------------------------------------------------------------------------------------------------------

STEPS, SETTINGS = 60, {"max_steps": 60, "save_every": 2, "lora_r": 2}


class Elsewhere:
    """Attempts of the synthetic trainable in processes of their own."""

    def __init__(self, store: Store, spool: Path) -> None:
        self.store, self.spool = store, spool

    def start(self, **more: Any) -> "subprocess.Popen[str]":
        words = [self.store.location, str(self.spool), self.store.nonce or "", json.dumps({**SETTINGS, **more})]
        command = [sys.executable, "-m", "tests.attempts", *words]
        environment = {**os.environ, "TMPDIR": str(self.spool.parent)}  # one that is killed leaves files there
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], env=environment
        )


def test_after_a_kill_another_process_resumes_and_every_step_is_there_once(store: Store, tmp_path: Path) -> None:
    elsewhere = Elsewhere(store, tmp_path / "spool")
    with elsewhere.start(step_time_s=0.5) as first:
        while checkpoints.newest(store, NAME) is None:
            assert first.poll() is None
        first.send_signal(signal.SIGKILL)
    assert store.trial(NAME) is None
    found = checkpoints.newest(store, NAME)
    assert found is not None and 2 <= (begun := found.seal["step"]) < STEPS
    with elsewhere.start() as second:
        said = second.communicate(timeout=120)[0].splitlines()
    assert json.loads(said[-1]) == {"status": "completed", "ray": False, "torch": False}
    row = row_of(store)
    assert (row["status"], row["attempts"], row["steps"], row["checkpoint"]) == ("completed", 2, STEPS, FINAL)
    steps = store.steps(NAME).to_pylist()
    assert [one["step"] for one in steps] == list(range(1, STEPS + 1))
    assert [one["attempt"] for one in steps] == [1] * begun + [2] * (STEPS - begun)
    assert row["train_loss"] == sum(loss_at(step, SETTINGS) for step in range(1, STEPS + 1)) / STEPS
    assert not leftovers.pending(tmp_path / "spool")


def test_a_trial_that_had_ended_but_for_its_row_is_not_trained_again(
    attempt: Attempt, toy: Toy, store: Store, tmp_path: Path
) -> None:
    attempt.start()
    end_of(attempt)
    store.remove_trial(NAME)  # as if its process had been killed before it was written
    other = Toy()
    other.at["step 1"] = other.at["evaluation"] = no_room
    again = attempt_of(sweep_of(store, tmp_path / "spool"), store, other)
    again.start()
    assert end_of(again)["status"] == "completed"
    row = row_of(store)
    assert (row["status"], row["attempts"], row["eval_loss"], row["checkpoint"]) == ("completed", 2, 1.0, FINAL)
    assert store.evals().num_rows == 1 and store.steps(NAME).num_rows == 2


def test_what_a_process_killed_after_its_final_seal_left_to_resume_from_is_removed(
    attempt: Attempt, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is three times the size of the final one: the optimizer's state is in it."""
    with monkeypatch.context() as killed:
        killed.setattr(Store, "remove_folder", lambda *given: None)
        attempt.start()
        end_of(attempt)
    assert set(store.folders(f"checkpoints/{NAME}")) > {FINAL}
    store.remove_trial(NAME)
    again = attempt_of(sweep_of(store, tmp_path / "spool"), store, Toy())
    again.start()
    assert end_of(again)["checkpoint"] == FINAL
    assert store.folders(f"checkpoints/{NAME}") == [FINAL]


def test_with_nothing_left_to_train_the_final_adapter_is_the_newest_checkpoint(
    attempt: Attempt, toy: Toy, store: Store, tmp_path: Path
) -> None:
    """It reports no step, and comes after the last one all the same."""
    stopped_at("step 2", attempt, toy)
    assert row_of(store)["checkpoint"] == f"checkpoints/{NAME}/2"
    again = attempt_of(sweep_of(store, tmp_path / "spool"), store, Toy())
    again.start()
    end_of(again)
    found = checkpoints.newest(store, NAME)
    assert found is not None and (found.name, found.seal["step"]) == (FINAL, 2) and row_of(store)["checkpoint"] == FINAL


def test_a_shrunk_trial_starts_anew_and_its_own_checkpoints_are_its_own(
    attempt: Attempt, toy: Toy, store: Store, tmp_path: Path
) -> None:
    stopped_at("step 1", attempt, toy)
    shrunk = Toy()
    there, go_on = reached("step 2", shrunk)
    again = attempt_of(sweep_of(store, tmp_path / "spool", micro_batch=4), store, shrunk)
    again.start()
    assert there.wait(60) and shrunk.context.resume_from is None
    again.stop("a test stopped it")
    go_on.set()
    again.close()
    assert checkpoints.newest(store, NAME) is None
    found = checkpoints.newest(store, NAME, 4)
    assert found is not None and found.name == f"checkpoints/{NAME}/2"


@pytest.mark.parametrize("run", ["20261125-205441-000000-9", "kept"])
def test_a_sweep_of_the_old_layout_is_resumed(run: str, store: Store, tmp_path: Path) -> None:
    """Its checkpoint lies below `tune/`: what it left there stays, what follows is in the new place."""
    synthetic = Synthetic()
    old = tmp_path / "old"
    old.mkdir()
    (old / "state.json").write_text('{"step": 10, "seconds": 1.0}')
    (old / checkpoints.SEAL).write_text(json.dumps(checkpoints.seal_of(old, 10)))
    store.upload(old, f"tune/{run}/{NAME}/checkpoint_000003")
    rows = [{"trial_id": NAME, "attempt": 1, "step": step, "loss": loss_at(step, SETTINGS)} for step in range(1, 14)]
    store.write_step_part(NAME, 1, 1, rows)
    before = everything(store)
    settings = {**SETTINGS, "max_steps": 20}
    attempt = attempt_of(sweep_of(store, tmp_path / "spool", **settings), store, synthetic)
    attempt.start()
    assert attempt.number == 2
    end_of(attempt)
    steps = store.steps(NAME).to_pylist()
    assert [(one["step"], one["attempt"]) for one in steps] == [(n, 1 if n <= 10 else 2) for n in range(1, 21)]
    assert row_of(store)["train_loss"] == sum(loss_at(step, SETTINGS) for step in range(1, 21)) / 20
    assert store.folders(f"checkpoints/{NAME}") == [FINAL] and row_of(store)["checkpoint"] == FINAL
    after = everything(store)
    assert {name: data for name, data in after.items() if "/tune/" in name} == {
        name: data for name, data in before.items() if "/tune/" in name
    }


def test_what_an_earlier_version_left_for_a_store_is_written_in_the_new_place(store: Store, tmp_path: Path) -> None:
    """Its ending has no seal: that lies in the folder."""
    kept = tmp_path / "spool" / NAME / "1"
    final = folder_in(kept, "checkpoint")
    seal = checkpoints.seal_of(final, 2, {"status": "completed"})
    (final / checkpoints.SEAL).write_text(json.dumps(seal))
    row = {"trial_id": NAME, "status": "completed", "attempts": 1}
    (kept / "ending.json").write_text(json.dumps({"row": row, "axes": {}, "evals": []}))
    leftovers.upload_all(store, tmp_path / "spool")
    assert row_of(store)["checkpoint"] == FINAL
    found = checkpoints.newest(store, NAME)
    assert found is not None and found.seal == seal and not kept.exists()


def folder_in(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True)
    return folder(parent / name)


class OnACard(Toy):
    """Its process has a card of 3 GB."""

    def device_bytes(self) -> int | None:
        return 3 * 10**9


@pytest.mark.parametrize(
    ("predicted", "gpus", "must_fit", "status"),
    [
        (2 * 10**9, 1.0, True, "completed"),
        (4 * 10**9, 1.0, True, "rejected"),
        (2 * 10**9, 0.5, True, "rejected"),
        (4 * 10**9, 1.0, False, "completed"),
        (4 * 10**9, 0.0, True, "completed"),
        (None, 1.0, True, "completed"),
    ],
    ids=["fits", "does not", "does not fit its half", "is run anyway", "on the CPU", "of unknown memory"],
)
def test_a_trial_that_does_not_fit_its_processs_card_is_not_trained(
    predicted: int | None, gpus: float, must_fit: bool, status: str, store: Store, tmp_path: Path
) -> None:
    made = sweep_of(store, tmp_path / "spool")
    columns = {**made.trials[NAME].columns, "predicted_peak_memory_bytes": predicted}
    trial = replace(made.trials[NAME], columns=columns)
    sweep = replace(made, gpus=gpus, must_fit=must_fit, trials={NAME: trial})
    attempt = attempt_of(sweep, store, OnACard())
    attempt.start()
    assert end_of(attempt)["status"] == status
    row, steps = store.trial(NAME), store.steps(NAME).num_rows
    assert row is not None and (row["status"], row["predicted_peak_memory_bytes"]) == (status, predicted)
    assert (steps, bool(row["error_message"])) == ((0, True) if status == "rejected" else (2, False))
    attempt.close()
