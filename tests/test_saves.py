"""What a trial hands over to be kept."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sweep.store.checkpoints import SEAL
from sweep.trial.saves import Saves
from sweep.trial.tune_trial import TuneTrial


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    (tmp_path / "work").mkdir()
    return Saves(tmp_path / "work")


def made(folder: Path, step: int) -> Path:
    """What a trainer saved at a step."""
    made = folder / f"made-{step}"
    made.mkdir()
    (made / "weights").write_text(f"of step {step}")
    return made


def test_what_comes_after_the_pin_is_not_copied_but_the_next_time(saves: Saves, tmp_path: Path) -> None:
    """Its rows may not be in the store yet."""
    saves.offer(made(tmp_path, 5), 5)
    pinned = saves.pin()
    saves.offer(made(tmp_path, 10), 10)
    saves.copy(tmp_path / "first")
    assert pinned is not None and pinned.step == 5
    assert json.loads((tmp_path / "first" / SEAL).read_text())["step"] == 5
    assert (tmp_path / "first" / "weights").read_text() == "of step 5"
    saves.accepted()
    assert saves.due and saves.waiting is not None and saves.waiting.step == 10
    saves.pin()
    saves.copy(tmp_path / "second")
    saves.accepted()
    assert (tmp_path / "second" / "weights").read_text() == "of step 10"
    assert not saves.due


def test_only_what_may_still_be_wanted_lies_on_disk(saves: Saves, tmp_path: Path) -> None:
    for step in range(1, 7):
        saves.offer(made(tmp_path, step), step)
        if step == 2:
            saves.pin()
    assert len(list((tmp_path / "work").iterdir())) == 2  # the pinned one and the newest
    saves.pin()
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_one_that_the_store_refused_waits_on(saves: Saves, tmp_path: Path) -> None:
    saves.offer(made(tmp_path, 5), 5)
    saves.pin()
    saves.copy(tmp_path / "refused")
    saves.refused()
    assert not saves.due
    assert saves.waiting is not None and saves.waiting.step == 5


class TrainsOn:
    """A reporter that needs a while to flush: training has made another checkpoint, and rows, when it is done."""

    def __init__(self, saves: Saves, folder: Path) -> None:
        self.saves, self.folder = saves, folder

    def flush(self, patience: float) -> int:
        self.saves.offer(made(self.folder, 10), 10)
        return 0


def trial_with(saves: Saves, reporter: Any, reported_step: int | None, trained: bool = False) -> TuneTrial:
    trial = object.__new__(TuneTrial)  # without Ray
    trial._trained = threading.Event()
    if trained:
        trial._trained.set()
    trial._saves, trial._reporter, trial._reported_step = saves, reporter, reported_step
    return trial


def test_a_checkpoint_is_kept_only_with_its_rows(saves: Saves, tmp_path: Path) -> None:
    saves.offer(made(tmp_path, 5), 5)
    trial = trial_with(saves, TrainsOn(saves, tmp_path), 5)
    assert trial._rows_are_in_the_store()
    trial.save_checkpoint(str(tmp_path / "kept"))
    assert json.loads((tmp_path / "kept" / SEAL).read_text())["step"] == 5


@pytest.mark.parametrize(
    ("reported_step", "trained", "kept"),
    [(4, False, False), (4, True, True), (5, False, True), (None, False, True)],
)
def test_a_row_that_waits_for_its_evaluation_holds_its_checkpoint_back(
    saves: Saves, tmp_path: Path, reported_step: int | None, trained: bool, kept: bool
) -> None:
    """A trainable that reports no steps, or has come to its end, has nothing to wait for."""
    saves.offer(made(tmp_path, 5), 5)
    assert trial_with(saves, TrainsOn(saves, tmp_path), reported_step, trained)._rows_are_in_the_store() == kept
