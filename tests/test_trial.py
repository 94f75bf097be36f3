"""A trial's process, driven by hand in place of Ray Tune: how it ends, whatever it is told and whatever refuses."""

import errno
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from sweep.contract.trainable import Context
from sweep.errors import LockLost
from sweep.store.lock import held
from sweep.store.store import Row, Store
from sweep.trial.tune_trial import TuneTrial
from tests.test_lock import elsewhere, locked_by

NAME = "r2-s0"


class Toy:
    """Two steps and an evaluation; at each of its stages the test has its say."""

    at: ClassVar[dict[str, Callable[[], None]]] = {}

    def run(self, context: Context) -> Row:
        for step in (1, 2):
            context.report({"step": step, "loss": 1.0 / step})
            self._reach(f"step {step}")
            if context.should_stop():
                return {"train_loss": 1.0}
        self._reach("evaluation")
        context.evals = [{"example_id": 0, "loss_sum": 1.0, "tokens": 1, "bytes": 4}]
        context.final = context.work_dir / "final"
        context.final.mkdir()
        (context.final / "adapter").write_text("weights")
        return {"train_loss": 0.5, "eval_loss": 1.0}

    def _reach(self, stage: str) -> None:
        self.at.get(stage, lambda: None)()


class InHand(TuneTrial):
    """The trainable as Tune would make it, with a storage that only counts."""

    options: ClassVar[dict[str, Any]]

    def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
        super().setup(config, Toy, None, self.options)  # type: ignore[arg-type]
        self._storage = SimpleNamespace(current_checkpoint_index=-1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with held(Store(str(tmp_path / "sweep"))) as store:
        yield store


@pytest.fixture
def trial(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InHand]:
    monkeypatch.setattr(Toy, "at", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # which a trial's process changes for itself
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    (tmp_path / "tmp").mkdir()
    InHand.options = {
        "location": store.location, "nonce": store.nonce, "base": ".", "sweep_name": "sweep", "threads": 1,
        "verbose": False, "patience": 2, "spool": str(tmp_path / "spool"), "gpus": 0, "provenance": {},
        "trials": {
            NAME: {
                "settings": {}, "columns": {"trial_id": NAME, "lora_r": 2, "micro_batch": None}, "axes": {}, "provenance": {},
            }
        },
    }  # fmt: skip
    trial = InHand({"trial": {"trial_id": NAME}})
    yield trial
    assert not list(trial._scratch.glob("attempt-*"))  # whatever happened
    trial.cleanup()
    assert not list((tmp_path / "tmp").iterdir())


def steps_until(trial: InHand, end: Callable[[Row], bool]) -> Row:
    while not end(result := trial.step()):
        if result.get("should_checkpoint"):  # Tune would save now
            trial._saves.accepted()
    return result


def row_of(store: Store) -> Row:
    (row,) = store.trials().to_pylist()
    return dict(row)


def reached(stage: str) -> tuple[threading.Event, threading.Event]:
    """Has the toy wait at a stage: (it is there, it may go on)."""
    there, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        assert go_on.wait(60)

    Toy.at[stage] = wait
    return there, go_on


def stopped_at(stage: str, trial: InHand) -> None:
    """Tune stops the trial while it is at a stage, as it does for a scheduler, at an interrupt, or when Ray ends."""
    there, go_on = reached(stage)
    assert trial.step() == {"attempt": 1}
    assert there.wait(60)
    stopping = threading.Thread(target=trial.cleanup)
    stopping.start()
    assert trial._stop.wait(60)
    go_on.set()
    stopping.join(60)


def test_a_trial_that_only_knows_that_it_is_to_stop_is_interrupted_and_nothing_of_it_is_final(
    trial: InHand, store: Store
) -> None:
    stopped_at("step 1", trial)
    row = row_of(store)
    assert (row["status"], row["steps"], row["train_loss"], row["eval_loss"]) == ("interrupted", 1, 1.0, None)
    assert store.newest_checkpoint(NAME) is None and row["pruned_step"] is None


def test_a_trial_that_is_told_to_stop_while_it_evaluates_is_completed(trial: InHand, store: Store) -> None:
    stopped_at("evaluation", trial)
    row = row_of(store)
    assert (row["status"], row["steps"], row["eval_loss"]) == ("completed", 2, 1.0)
    assert row["checkpoint"] and store.newest_checkpoint(NAME) == row["checkpoint"]
    assert (
        json.loads(store.read_bytes(f"{row['checkpoint']}/sweep-checkpoint.json"))["outcome"]["status"] == "completed"
    )


def test_a_trial_that_is_told_to_stop_while_its_checkpoint_is_uploaded_is_completed(
    trial: InHand, store: Store
) -> None:
    while not trial.step().get("should_checkpoint"):
        pass
    trial.cleanup()
    assert row_of(store)["status"] == "completed"


def test_a_result_of_a_training_that_was_cut_short_is_not_final(trial: InHand, store: Store) -> None:
    def hand_over() -> None:
        trial._context.final = trial._work_dir / "early"
        trial._context.final.mkdir()
        trial._stop.set()

    Toy.at["step 1"] = hand_over
    steps_until(trial, lambda result: "status" in result)
    assert row_of(store)["status"] == "interrupted" and store.newest_checkpoint(NAME) is None


def test_a_trial_ends_though_its_log_cannot_be_written_and_its_training_raises(
    trial: InHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: even the traceback has no place."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "log").symlink_to("/dev/full")
    monkeypatch.setattr(trial, "_attempts_folder", lambda: tmp_path / "full")

    def fail() -> None:
        raise RuntimeError("in mid-training")

    Toy.at["step 2"] = fail
    results: list[Row] = []
    training = threading.Thread(
        target=lambda: results.append(steps_until(trial, lambda result: "status" in result)), daemon=True
    )
    training.start()
    training.join(60)
    assert [(one["status"], one["error_message"]) for one in results] == [("failed", "in mid-training")]


def test_a_training_thread_that_dies_in_our_own_code_ends_the_trial(
    trial: InHand, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_run", no_room)
    result = steps_until(trial, lambda result: "status" in result)
    assert (result["status"], result["error_type"]) == ("failed", "OSError")


def no_room(*given: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_that_the_local_disk_has_no_room_for_is_not_laid_to_the_store(
    trial: InHand, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    while not trial.step().get("should_checkpoint"):
        pass
    with monkeypatch.context() as full:
        full.setattr("sweep.trial.saves.seal", no_room)
        trial.save()
    assert "] the local disk (" in (said := capsys.readouterr().out) and "the store" not in said
    with monkeypatch.context() as away:
        away.setattr(TuneTrial.__mro__[1], "save", no_room)
        trial.save()
    assert "] the store refused a checkpoint" in capsys.readouterr().out
    trial.cleanup()
    assert row_of(store)["status"] == "completed"


def everything(store: Store) -> dict[str, bytes]:
    assert store.local is not None
    return {str(path): path.read_bytes() for path in store.local.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stage", ["step 1", "evaluation"])
def test_a_worker_whose_driver_has_lost_the_lock_writes_nothing_more_and_stops(
    stage: str, trial: InHand, store: Store
) -> None:
    there, go_on = reached(stage)
    trial.step()
    assert there.wait(60) and trial._reporter.flush(60) == 0
    locked_by(Store(store.location), elsewhere(silent_for=0))
    before = everything(store)
    go_on.set()
    with pytest.raises(LockLost, match="taken over by another driver"):
        steps_until(trial, lambda result: "status" in result)
    with suppress(LockLost):
        trial.cleanup()  # as Tune does then
    assert everything(store) == before


def test_a_checkpoint_is_not_uploaded_once_the_lock_is_lost(trial: InHand, store: Store) -> None:
    while not trial.step().get("should_checkpoint"):
        pass
    locked_by(Store(store.location), elsewhere(silent_for=0))
    with pytest.raises(LockLost):
        trial.save()
    with pytest.raises(LockLost):
        trial.cleanup()
