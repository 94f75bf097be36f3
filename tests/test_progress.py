"""What a person is told of trials while they run: plain lines where there is no terminal, a table where there is one."""

from collections.abc import Sequence

import pytest
from rich.console import Console

from sweep.live.state import Devices
from sweep.policies.policy import Decision, Request, Wanted
from sweep.run.progress import INTERVAL, LASTS, MOST, Progress
from sweep.space import Trial


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A display of two trials, whose clock a test turns, and what it has said since it was last asked."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], names: Sequence[str] = ("one", "two"), quiet: bool = False
    ) -> None:
        self.clock, self._capsys = Clock(), capsys
        trials = [Trial(name, 8, 16.0, 0, {}, {}, "") for name in names]
        self.progress = Progress(trials, {}, self.clock, quiet=quiet)

    def after(self, seconds: float) -> list[str]:
        """Lines said in the seconds that follow, without their times."""
        for _ in range(round(10 * seconds)):
            self.clock.now += 0.1
            self.progress.tick()
        return [line.partition("] ")[2] for line in self._capsys.readouterr().err.splitlines()]

    def table(self) -> str:
        console = Console(width=120)
        with console.capture() as shown:
            console.print(self.progress.table())
        return shown.get()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


def test_a_plain_line_says_what_lasts_before_the_first_step(told: Told) -> None:
    told.progress.started("one")
    assert told.after(LASTS + 1) == ["one: started"]
    told.progress.phase("one", "loading the model", None)
    assert told.after(LASTS + 1) == ["one: loading the model"]
    told.progress.phase("one", "first step", None)
    assert told.after(LASTS + 1) == ["one: first step"]
    told.progress.row("one", {"step": 4, "total_steps": 4, "loss": 2.5})
    assert told.after(5) == []


def test_a_plain_line_says_what_lasts_after_the_last_step(told: Told) -> None:
    told.progress.row("one", {"step": 4, "total_steps": 4, "loss": 2.5})
    assert told.after(LASTS + 1) == []
    for rows in (40, 32, 24):
        told.progress.phase("one", "evaluating", rows)
        said = told.after(LASTS / 3 + 0.1)
    assert said == ["one: step 4 of 4, loss 2.5000, evaluating, 24 rows left"]
    told.progress.ended("one", "completed")
    assert told.after(1) == ["one: completed, step 4 of 4, loss 2.5000; 1 completed, 1 waiting"]


def test_what_is_over_quickly_has_no_line(told: Told) -> None:
    told.progress.started("one")
    for phase in ("loading the model", "first step", "evaluating", "saving"):
        told.progress.phase("one", phase, None)
        assert not [line for line in told.after(LASTS - 1) if line != "one: started"]


def test_every_running_trial_has_a_line_at_intervals_whether_anything_was_heard_or_not(told: Told) -> None:
    for name in ("one", "two"):
        told.progress.started(name)
        told.progress.row(name, {"step": 1, "total_steps": 9})
    told.progress.phase("two", "evaluating", 500)
    told.after(LASTS + 1)
    assert told.after(INTERVAL) == [
        "one: step 1 of 9",
        "two: step 1 of 9, evaluating, 500 rows left",
        "0 of 2 trials done, 2 running, time left –",
    ]
    told.progress.ended("one", "failed")
    told.after(1)
    assert told.after(INTERVAL) == [
        "two: step 1 of 9, evaluating, 500 rows left",
        "1 of 2 trials done (1 failed), 1 running, time left –",
    ]


def test_of_many_trials_that_run_one_line_at_intervals_says_enough(capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(number) for number in range(MOST + 1)]
    told = Told(capsys, names)
    told.progress.runs_on(Devices("GPUs", MOST + 1, 1, MOST + 1))
    for name in names:
        told.progress.started(name)
    assert told.after(1) == [f"{name}: started" for name in names]
    assert told.after(INTERVAL) == ["0 of 9 trials done, 9 of 9 GPUs busy, time left –"]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(capsys, quiet=True)
    with told.progress:
        told.progress.started("one")
        told.progress.row("one", {"step": 1, "total_steps": 9})
        told.after(INTERVAL + 1)
        told.progress.ended("one", "failed")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_line_and_no_control_codes_where_there_is_no_terminal(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with told.progress:
        told.progress.started("one")
        told.progress.ended("one", "completed")
    said = told.after(0)
    assert len(said) == 3 and "\x1b" not in "".join(said)


def test_the_table_says_what_a_trial_does_in_place_of_that_it_runs(told: Told) -> None:
    told.progress.started("one")
    assert "starting" in told.table() and "waiting" in told.table()
    told.progress.phase("one", "evaluating", 24)
    assert "evaluating, 24 rows left" in told.table()
    told.progress.row("one", {"step": 1})
    assert "evaluating" not in told.table() and " running " in told.table()


def test_the_rate_that_is_said_at_the_end_is_trainings(told: Told) -> None:
    told.progress.row("one", {"step": 1, "total_steps": 5, "loss": 2.5})
    told.after(2)
    told.progress.row("one", {"step": 5, "total_steps": 5, "loss": 2.5})
    told.progress.phase("one", "evaluating", 40)
    told.after(100)
    told.progress.row("one", {"step": 5, "total_steps": 5, "loss": 2.5, "done": True})
    told.progress.ended("one", "completed")
    assert told.after(1)[-1] == "one: completed, step 5 of 5, loss 2.5000, 2.00 steps/s; 1 completed, 1 waiting"


def test_a_trial_that_was_rejected_is_told_as_that(told: Told) -> None:
    told.progress.ended("one", "rejected")
    assert told.after(1) == ["one: rejected; 1 rejected, 1 waiting"]
    assert "rejected" in told.table()


def test_of_trials_that_are_chosen_those_wanted_are_shown_with_what_was_decided(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials = [Trial(name, 8, 16.0, 0, {}, {}, "") for name in ("one", "two", "three")]
    progress = Progress(trials, {}, Clock(), chooses=True)
    first = Decision("value", "r=8: learning_rate 0.001 first")
    out = Decision("left", "r=2 gets no more seeds after 2: it is at least 3.00% above the best")
    progress.decided(Wanted(("one",), (Request(trials[0]),), (), False, "", 9, (first,)))
    progress.started("one")
    progress.ended("one", "completed")
    progress.started("three")  # begun early
    progress.decided(Wanted(("one", "two"), (Request(trials[1]),), (), False, "", 7, (first, out)))
    progress.ended("three", "completed")
    said = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "r=8: learning_rate 0.001 first",
        "one: started",
        "one: completed; 1 completed, at most 9",
        "three: started",
        "r=2 gets no more seeds after 2: it is at least 3.00% above the best",
        "three: completed; 2 completed, 1 waiting, at most 7",
    ]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(progress.table())
    assert "2 of at most 7 trials done" in shown.get() and out.text in shown.get()
