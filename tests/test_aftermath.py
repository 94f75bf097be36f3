"""What only the driver knows of a trial's end goes into the row that the trial's process left."""

from pathlib import Path

import pytest

from sweep.run.aftermath import Seen, note_pruned, settled, write_missing_rows
from sweep.space import Trial, trials
from sweep.store.store import Row, Store

DECIDED: Row = {"pruned_step": 10, "pruned_metric": "loss", "pruned_value": 3.5}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "sweep"))


@pytest.fixture
def trial() -> Trial:
    (one,) = trials({}, [2], [0], {}, "fixed")
    return one


def left(store: Store, trial: Trial, status: str) -> None:
    store.write_trial({**trial.columns(), "status": status, "steps": 12, "attempts": 1}, {})


@pytest.mark.parametrize("status", ["completed", "failed", "oom", "diverged"])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_trial_that_had_ended_by_itself_stays_as_it_is(
    store: Store, trial: Trial, status: str, stopped: bool
) -> None:
    left(store, trial, status)
    before = store.trial(trial.trial_id)
    seen = Seen(pruned={trial.trial_id: DECIDED}, errors={trial.trial_id: {}}, unfinished={trial.trial_id: {}})
    write_missing_rows([trial], store, seen, stopped)
    assert store.trial(trial.trial_id) == before


@pytest.mark.parametrize("stopped", [False, True])
def test_what_the_scheduler_decided_is_written_with_what_decided_it(store: Store, trial: Trial, stopped: bool) -> None:
    left(store, trial, "interrupted")
    write_missing_rows([trial], store, Seen(pruned={trial.trial_id: DECIDED}), stopped)
    row = store.trial(trial.trial_id)
    assert row is not None and row["status"] == "pruned" and row["steps"] == 12
    assert {key: row[key] for key in DECIDED} == DECIDED


@pytest.mark.parametrize("stopped", [False, True])
def test_a_trial_that_was_told_to_stop_by_nobody_here_stays_interrupted(
    store: Store, trial: Trial, stopped: bool
) -> None:
    left(store, trial, "interrupted")
    write_missing_rows([trial], store, Seen(unfinished={trial.trial_id: {"step": 12}}), stopped)
    row = store.trial(trial.trial_id)
    assert row is not None and (row["status"], row["pruned_step"]) == ("interrupted", None)


def test_a_trial_that_ray_gave_up_has_failed_whatever_its_process_left(store: Store, trial: Trial) -> None:
    left(store, trial, "interrupted")
    write_missing_rows([trial], store, Seen(errors={trial.trial_id: {"error_type": "ProcessDied"}}), False)
    row = store.trial(trial.trial_id)
    assert row is not None and (row["status"], row["error_type"]) == ("failed", "ProcessDied")


def test_a_decision_waits_for_the_trials_row_and_is_written_once(store: Store, trial: Trial) -> None:
    seen = Seen(pruned={trial.trial_id: DECIDED})
    note_pruned([trial], store, seen)
    assert store.trial(trial.trial_id) is None and trial.trial_id in seen.pruned
    left(store, trial, "interrupted")
    note_pruned([trial], store, seen)
    row = store.trial(trial.trial_id)
    assert row is not None and row["status"] == "pruned" and not seen.pruned


def test_a_trial_whose_process_died_has_its_row_with_what_it_left_as_soon_as_ray_gives_it_up(
    store: Store, trial: Trial, tmp_path: Path
) -> None:
    """What is trained next depends on it, so it is not left to the end of the run."""
    folder = tmp_path / "spool" / trial.trial_id / "1"
    folder.mkdir(parents=True)
    (folder / "log").write_text("these were its last words")
    row = settled(trial, store, Seen(errors={trial.trial_id: {"error_type": "ProcessDied"}}), tmp_path / "spool")
    assert (row["status"], row["error_type"]) == ("failed", "ProcessDied")
    assert row["log"] and "its last words" in store.read_log(trial.trial_id)
    assert not folder.exists()


def test_a_pruned_trial_is_known_before_its_own_row_is_there(store: Store, trial: Trial, tmp_path: Path) -> None:
    assert settled(trial, store, Seen(pruned={trial.trial_id: DECIDED}), tmp_path)["status"] == "pruned"
    assert store.trial(trial.trial_id) is None
