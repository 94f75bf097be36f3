"""An attempt's scores reach the store, whatever refuses or is killed; the base model's are shared by all trials."""

from pathlib import Path
from typing import Any

import pytest

from sweep.contract.trainable import Context, Trainable
from sweep.errors import StoreUnreachable
from sweep.store import leftovers
from sweep.store.store import Row, Store
from sweep.trial.attempt import Attempt
from tests.attempts import NAME, attempt_of, end_of, sweep_of

FINAL = f"checkpoints/{NAME}/final"
BASE = [{"example_id": 0, "loss_sum": 20.0, "tokens": 10}]


class Scored(Trainable):
    """One step and one score, for which the base model is scored where nobody has done so."""

    def __init__(self) -> None:
        self.made = 0

    def check(self, *given: Any) -> list[str]:
        return []

    def prepare(self, *given: Any) -> tuple[Any, Row]:
        return None, {}

    def run(self, context: Context) -> Row:
        (before,) = context.once("base", self._score)
        context.report({"step": 1, "loss": 1.0})
        context.evals = [{"example_id": 0, "loss_sum": 1.0, "tokens": 1, "bytes": 4}]
        context.scores = [
            {
                "metric": "loss",
                "dataset": "set",
                "example_id": 0,
                "before": before["loss_sum"],
                "after": 21.0,
                "tokens": 10,
            }
        ]
        context.final = context.work_dir / "final"
        context.final.mkdir()
        (context.final / "adapter").write_text("weights")
        return {"train_loss": 0.5, "eval_loss": 1.0, "forgetting": 0.1, "scoring_time_s": 1.0}

    def _score(self) -> list[Row]:
        self.made += 1
        return [dict(row) for row in BASE]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "sweep"))


def started(store: Store, folder: Path, scored: Scored) -> Attempt:
    attempt = attempt_of(sweep_of(store, folder / "spool", patience_s=0.1), store, scored)
    attempt.start()
    return attempt


def refusing(patch: pytest.MonkeyPatch, folder: str) -> None:
    """A store that takes no file of a folder."""
    real = Store.write_bytes

    def write_bytes(self: Store, name: str, data: bytes) -> None:
        if name.startswith(folder):
            raise OSError(28, "No space left on device")
        real(self, name, data)

    patch.setattr(Store, "write_bytes", write_bytes)


def assert_scored(store: Store, attempts: int = 1) -> None:
    (row,) = store.trials().to_pylist()
    assert (row["status"], row["attempts"], row["forgetting"], row["checkpoint"]) == ("completed", attempts, 0.1, FINAL)
    (score,) = store.scores().to_pylist()
    assert (score["trial_id"], score["before"], score["after"], score["dataset"]) == (NAME, 20.0, 21.0, "set")


def test_scores_are_in_the_store_and_the_base_models_are_kept_for_others(store: Store, tmp_path: Path) -> None:
    first, second = Scored(), Scored()
    end_of(started(store, tmp_path, first))
    assert_scored(store)
    end_of(started(store, tmp_path / "again", second))  # a trial that is trained again
    assert (first.made, second.made) == (1, 0)
    assert [{key: row[key] for key in BASE[0]} for row in store.baseline("base") or []] == BASE


def test_a_base_models_scores_that_cannot_be_read_or_kept_are_made_by_each(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes("baselines/base.parquet", b"PAR1 and no more")
    scored = Scored()
    with monkeypatch.context() as patch:
        refusing(patch, "baselines/")
        end_of(started(store, tmp_path, scored))
    assert scored.made == 1
    assert_scored(store)


@pytest.mark.parametrize("folder", ["evals/", "scores/"])
def test_a_final_adapter_is_not_sealed_before_its_scores_are_in_the_store(
    folder: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds the seal does not score again: what the store refused comes with the ending, later."""
    with monkeypatch.context() as away:
        refusing(away, folder)
        attempt = started(store, tmp_path, Scored())
        with pytest.raises(StoreUnreachable):
            end_of(attempt)
    assert not store.exists(FINAL)
    leftovers.upload_all(store, tmp_path / "spool")
    assert_scored(store)


def test_an_attempt_that_was_killed_before_its_row_does_not_score_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal has the outcome and was written after the scores; only the row is missing."""
    with monkeypatch.context() as killed:
        refusing(killed, "trials/")
        killed.setattr("sweep.store.leftovers.Ending.save", lambda *given: (_ for _ in ()).throw(OSError(28, "full")))
        attempt = started(store, tmp_path, Scored())
        with pytest.raises(StoreUnreachable):
            end_of(attempt)
    assert store.exists(FINAL) and store.scores().num_rows == 1
    again = Scored()
    end_of(started(store, tmp_path, again))
    assert again.made == 0
    assert_scored(store, attempts=2)
