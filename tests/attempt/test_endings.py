"""An attempt of a trial, driven by hand, without Ray: how it ends, whatever it is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.store import checkpoints
from sweep.store.store import Store
from sweep.trial.attempt import Attempt, Ended, Progress
from tests.attempts import FINAL, NAME, Toy, attempt_of, end_of, folder, no_room, reached, row_of, stopped_at, sweep_of


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
