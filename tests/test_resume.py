"""An attempt that goes on from a checkpoint ends as an undisturbed one: loss, steps, cost. Without Ray, with a clock of its own."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweep.space import Rank, Trial, trials
from sweep.store.checkpoints import Checkpoint
from sweep.store.store import Row
from tests.untuned import context_of, settings
from trainables.training import evaluate, resume
from trainables.training.train import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # peft asks under the old name
]
STEP_S, SAVE_S, EVALUATION_S = 1.0, 20.0, 300.0
RATES = ("samples_per_second", "steps_per_second", "tokens_per_second")
TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_tokens_per_second", *RATES)
# What neither an attempt nor the machine may change.
LEARNED = ("train_loss", "eval_loss", "tokens", "epochs", "trainable_parameters", "total_parameters", "padding_share")


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class Machine:
    """Runs attempts of a trial under a clock that only steps, saving and evaluations move, and kills them where it is told."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    now: float = 1e6
    saved: dict[int, Path] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    attempts: int = 0

    def __post_init__(self) -> None:
        for clock in ("time", "perf_counter"):
            self.monkeypatch.setattr(time, clock, lambda: self.now)

    def trial(self, rank: Rank = 4, **more: Any) -> Trial:
        chosen = {**settings(self.folder), "lr_scheduler_type": "constant", "save_steps": 3, "max_steps": 6, **more}
        return trials(chosen, [rank], [0], {}, "fixed")[0]

    def attempt(
        self,
        trial: Trial,
        goes_on_from: int | None = None,
        killed_after: int | None = None,
        evaluates: Callable[..., Any] | None = None,
    ) -> Row:
        self.attempts += 1
        work = self.folder / f"work-{self.attempts}"
        work.mkdir()
        found, earlier = None, list[Row]()
        if goes_on_from is not None:
            shutil.copytree(self.saved[goes_on_from], work / "resume")
            found = Checkpoint(work / "resume", goes_on_from, None)
            earlier = [row for row in self.rows if row["step"] <= goes_on_from]
        self.rows = list(earlier)
        context = context_of(
            trial,
            work,
            report=lambda row: self._report(row, killed_after),
            save=self._save,
            resume_from=found,
            earlier=earlier,
        )
        with self.monkeypatch.context() as patch:
            if evaluates:
                patch.setattr(evaluate, "held_out", evaluates)
            return train(context)

    def slow(self, owner: Any, name: str, seconds: float) -> None:
        """Has something take so many seconds."""
        inner = getattr(owner, name)

        def both(*args: Any, **kwargs: Any) -> Any:
            self.now += seconds
            return inner(*args, **kwargs)

        self.monkeypatch.setattr(owner, name, both)

    def _report(self, row: Row, killed_after: int | None) -> None:
        self.rows.append(row)
        if row["step"] == killed_after:
            raise Killed

    def _save(self, folder: Path, step: int) -> None:
        """As the store does it: what is elsewhere on this machine is not there for another."""
        self.saved[step] = Path(shutil.copytree(folder, self.folder / f"store-{self.attempts}-{step}"))
        shutil.rmtree(folder)

    def lost(self) -> None:
        """What attempts had on their node is gone."""
        for work in self.folder.glob("work-*"):
            shutil.rmtree(work)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    from trl import SFTTrainer

    made = Machine(tmp_path, monkeypatch)
    made.slow(SFTTrainer, "training_step", STEP_S)
    made.slow(SFTTrainer, "evaluation_loop", EVALUATION_S)
    made.slow(resume, "copy", SAVE_S)
    return made


def killed(*anything: Any) -> Any:
    raise Killed


def only(row: Row, names: tuple[str, ...]) -> Row:
    return {name: row[name] for name in names}


# Of 25 rows at 8 a step, four steps are an epoch: eight end with one, six do not.
@pytest.mark.parametrize("length", [{"max_steps": 6}, {"max_steps": 8}, {"max_steps": -1, "num_train_epochs": 2}])
def test_nothing_left_to_train_means_nothing_is_trained(machine: Machine, length: dict[str, Any]) -> None:
    """Killed in the evaluation, after the checkpoint of the last step."""
    trial = machine.trial(**length)
    calm = machine.attempt(trial)
    last = max(machine.saved)
    calm_rows = machine.rows
    with pytest.raises(Killed):
        machine.attempt(trial, evaluates=killed)
    machine.lost()
    again = machine.attempt(trial, goes_on_from=last)
    assert [row["step"] for row in machine.rows] == [row["step"] for row in calm_rows] == list(range(1, last + 1))
    assert only(again, LEARNED) == only(calm, LEARNED)
    assert only(again, TIMES) == pytest.approx(only(calm, TIMES), abs=1e-3)


def test_attempts_times_add_up_and_steps_made_twice_count_once(machine: Machine) -> None:
    trial = machine.trial(max_steps=9, save_steps=4)  # too few for a warm-up
    calm = machine.attempt(trial)
    assert calm["train_runtime"] == 9 * STEP_S + 3 * SAVE_S
    assert calm["steps_per_second"] == pytest.approx(1 / STEP_S)
    with pytest.raises(Killed):
        machine.attempt(trial, killed_after=6)
    machine.now += 3600  # until there is a node again
    with pytest.raises(Killed):
        machine.attempt(trial, goes_on_from=4, killed_after=9)
    again = machine.attempt(trial, goes_on_from=8)
    assert only(again, TIMES) == pytest.approx(only(calm, TIMES), abs=1e-3)
    assert only(again, LEARNED) == only(calm, LEARNED)


def test_an_evaluation_at_the_start_is_not_made_again(machine: Machine) -> None:
    trial = machine.trial(eval_on_start=True, eval_strategy="no")
    calm = machine.attempt(trial)
    assert calm["train_runtime"] == 6 * STEP_S + 2 * SAVE_S + EVALUATION_S
    again = machine.attempt(trial, goes_on_from=3)
    assert again["train_runtime"] == pytest.approx(calm["train_runtime"])


def test_a_checkpoint_that_does_not_say_what_it_took_leaves_the_times_null(machine: Machine) -> None:
    """It is an earlier version's."""
    trial = machine.trial()
    calm = machine.attempt(trial)
    (machine.saved[3] / resume.TOOK).unlink()
    for step in (3, 6):  # nor does any that follows
        again = machine.attempt(trial, goes_on_from=step)
        assert {again.get(name) for name in TIMES} == {None}
        assert again["train_loss"] == calm["train_loss"]


def test_rates_of_training_alone_leave_our_saving_out(machine: Machine) -> None:
    outcome = machine.attempt(machine.trial(save_steps=1, eval_strategy="steps", eval_steps=2))
    assert only(outcome, RATES)["steps_per_second"] == pytest.approx(1 / STEP_S)
    assert outcome["train_steps_per_second"] == pytest.approx(6 / (6 * (STEP_S + SAVE_S) + 3 * EVALUATION_S), abs=1e-3)


def test_a_training_whose_evaluation_failed_goes_on_with_the_evaluation(machine: Machine) -> None:
    def fails(*anything: Any) -> Any:
        raise ValueError("no such file")

    trial = machine.trial()
    calm = machine.attempt(trial)
    with pytest.raises(ValueError, match="no such file"):
        machine.attempt(trial, evaluates=fails)
    again = machine.attempt(trial, goes_on_from=6)
    assert only(again, (*LEARNED, *TIMES)) == pytest.approx(only(calm, (*LEARNED, *TIMES)), abs=1e-3)


@pytest.mark.parametrize("rank", [4, "full"])
def test_the_best_model_so_far_goes_along_with_the_newest_checkpoint(machine: Machine, rank: Rank) -> None:
    """The best is taken to be the one of highest loss, which is the first."""
    best: dict[str, Any] = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    trial = machine.trial(rank, **best, learning_rate=1e-2, eval_strategy="steps", eval_steps=2, save_steps=2)
    calm = machine.attempt(trial)
    newest = machine.attempt(machine.trial(rank, learning_rate=1e-2))
    assert calm["eval_loss"] > newest["eval_loss"] + 0.01
    with pytest.raises(Killed):
        machine.attempt(trial, killed_after=5)
    for step in (4, 6):  # to train from, and with nothing left to train
        machine.lost()
        kept = machine.saved[step]
        assert {path.name for path in kept.rglob("optimizer.pt")} and not (kept / resume.BEST / "optimizer.pt").exists()
        again = machine.attempt(trial, goes_on_from=step)
        assert only(again, LEARNED) == only(calm, LEARNED)


def test_a_checkpoint_that_is_the_best_itself_is_kept_once(machine: Machine) -> None:
    best: dict[str, Any] = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    trial = machine.trial(**best, learning_rate=1e-2)
    calm = machine.attempt(trial)
    with pytest.raises(Killed):
        machine.attempt(trial, killed_after=5)
    for step in (4, 6):
        machine.lost()
        assert not (machine.saved[step] / resume.BEST).exists()
        assert only(machine.attempt(trial, goes_on_from=step), LEARNED) == only(calm, LEARNED)


def test_peaks_of_earlier_attempts_count(machine: Machine) -> None:
    trial = machine.trial()
    machine.attempt(trial)
    for row in machine.rows[:3]:
        row |= {"peak_memory_allocated_bytes": 7, "peak_memory_reserved_bytes": 8, "peak_rss_bytes": 1 << 50}
    content = json.loads((machine.saved[3] / resume.TOOK).read_text())
    (machine.saved[3] / resume.TOOK).write_text(json.dumps({**content, "evaluation_peak_bytes": 9}))
    again = machine.attempt(trial, goes_on_from=3)
    names = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes", "eval_peak_memory_allocated_bytes")
    assert [again[name] for name in names] == [7, 8, 9] and again["peak_rss_bytes"] == 1 << 50
