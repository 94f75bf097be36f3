"""An attempt after another one: what it resumes from, and what it does not do again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.store import checkpoints, leftovers
from sweep.store.store import Store
from sweep.trial.attempt import Attempt
from tests.attempts import (
    FINAL,
    NAME,
    Toy,
    attempt_of,
    end_of,
    everything,
    folder,
    no_room,
    reached,
    row_of,
    stopped_at,
    sweep_of,
)
from trainables.synthetic import Synthetic, loss_at

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
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=environment
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
