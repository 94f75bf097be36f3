"""What a trial says, and how long it and the sweep take yet."""

from collections.abc import Sequence

import pytest

from sweep.live import left
from sweep.live.state import Devices, LiveSweep, LiveTrial


def trained(rank: str = "8", steps: int = 10, total: int = 10, seconds: float = 20.0, first: int = 1) -> LiveTrial:
    """A trial that was started at 0, had its first step after 2 s, and has come to a step after so many seconds."""
    trial = LiveTrial(rank, 0)
    trial.starts(0.0)
    trial.heard({"step": first, "loss": 4.0, "total_steps": total}, 2.0)
    if steps > first:
        trial.heard({"step": steps, "loss": 3.0, "total_steps": total}, seconds)
    return trial


def ended(trial: LiveTrial, now: float = 20.0, status: str = "completed") -> LiveTrial:
    trial.ends(status, now)
    return trial


def test_a_result_brings_the_losses_between_it_and_the_last_one() -> None:
    trial = LiveTrial("8", 0)
    trial.heard({"step": 4, "loss": 1.0, "between": {"step": [1, 2, 3], "loss": [4.0, 3.0, None]}}, 0.0)
    assert (trial.first, trial.step, trial.loss) == (1, 4, 1.0)
    assert trial.curve.drawn(4) == "█▆▆▁"


def test_the_last_result_is_the_row_before_once_more() -> None:
    trial = LiveTrial("8", 0)
    for step in range(1, 999):
        trial.heard({"step": step, "loss": 9.0 if step <= 8 else 1.0}, 0.0)
    last = {"step": 1000, "loss": 9.0, "between": {"step": [999], "loss": [1.0]}}
    trial.heard(last, 0.0)
    before = trial.curve.drawn(125)
    trial.heard({**last, "done": True}, 1.0)
    assert trial.curve.drawn(125) == before


def test_a_trial_that_starts_again_counts_its_rate_and_its_curve_from_there() -> None:
    trial = trained(steps=8, total=10, seconds=9.0)
    assert (trial.step, trial.steps_per_second) == (8, 1.0)
    trial.starts(100.0)
    assert (trial.step, trial.steps_per_second, left.of_trial(trial)) == (0, None, None)
    trial.heard({"step": 5, "loss": 3.5, "total_steps": 10}, 110.0)
    trial.heard({"step": 6, "loss": 3.4, "total_steps": 10}, 112.0)
    assert (trial.step, trial.first, trial.steps_per_second) == (6, 5, 0.5)
    assert left.of_trial(trial) == 8.0
    assert len(trial.curve.drawn(10, total=10)) == 6


def test_a_trials_time_left_is_known_while_it_steps_and_its_last_step_is() -> None:
    assert left.of_trial(trained(steps=4, total=10, seconds=5.0)) == 6.0
    assert left.of_trial(trained(steps=1)) is None, "one step has no rate"
    assert left.of_trial(trained(steps=4, total=0)) is None
    assert left.of_trial(ended(trained())) is None
    evaluates = trained(steps=4)
    evaluates.enters("evaluating", 24, 30.0)
    assert left.of_trial(evaluates) is None


def sweep(*trials: LiveTrial, at_once: int = 2, at_most: int | None = None, decisions: Sequence[str] = ()) -> LiveSweep:
    named = {str(place): trial for place, trial in enumerate(trials)}
    return LiveSweep(named, 0.0, at_most, Devices("slots", at_once, 1, at_once), decisions)


@pytest.mark.parametrize(
    ("running", "waiting", "at_once", "seconds"),
    [
        ([], [], 2, 0),
        ([5, 3], [], 2, 5),
        ([5, 3], [4], 2, 7),
        ([5], [4, 4], 2, 8),
        ([5, 3], [4, 4, 4], 2, 11),
        ([5, 3], [4], 1, 7),  # a node has gone
        ([5, None], [4], 2, None),
        ([5], [None], 2, None),
        ([], [4], 0, None),
    ],
)
def test_a_sweep_ends_when_each_that_waits_has_had_its_turn(
    running: list[float | None], waiting: list[float | None], at_once: int, seconds: float | None
) -> None:
    assert left.makespan(running, waiting, max(at_once, len(running))) == seconds


def test_what_waits_takes_as_long_as_its_rank_did() -> None:
    done, slower = ended(trained("8")), ended(trained("32", seconds=40.0), now=40.0)
    assert left.durations([done, slower, LiveTrial("8", 1)], 50.0) == {"8": 20.0, "32": 40.0}
    waits = [LiveTrial("8", 1), LiveTrial("32", 1)]
    assert left.of_sweep(sweep(done, slower, *waits, at_once=1), 50.0) == 60.0
    assert left.of_sweep(sweep(done, slower, *waits, at_once=2), 50.0) == 40.0


def test_what_runs_stands_in_for_what_has_not_ended_yet() -> None:
    runs = trained("8", steps=6, total=11, seconds=12.0)  # half a step a second: ends at 22
    assert left.durations([runs], 12.0) == {"8": 22.0}
    assert left.of_sweep(sweep(runs, LiveTrial("8", 1), at_once=1), 12.0) == 10.0 + 22.0
    assert left.durations([runs, ended(trained("8"))], 12.0) == {"8": 20.0}, "measured, not expected"


def test_of_a_rank_that_was_not_measured_nothing_is_said() -> None:
    assert left.of_sweep(sweep(ended(trained("8")), LiveTrial("32", 0)), 20.0) is None
    assert left.of_sweep(sweep(trained("8", steps=1)), 2.0) is None
    assert left.of_sweep(sweep(ended(trained("8"), status="failed"), LiveTrial("8", 1)), 20.0) is None


def test_a_trial_that_was_resumed_stands_for_all_of_its_steps() -> None:
    resumed = ended(trained("8", first=6, steps=10, total=10, seconds=10.0), now=10.0)
    assert left.durations([resumed], 10.0) == {"8": 20.0}
    assert left.durations([ended(trained("8", first=10))], 10.0) == {}, "one step says nothing of the other nine"


def test_a_trial_that_loads_or_evaluates_has_what_its_rank_took_yet_to_go() -> None:
    loads = LiveTrial("8", 1)
    loads.starts(20.0)
    assert left.of_sweep(sweep(ended(trained("8")), loads), 25.0) == 15.0
    assert left.of_sweep(sweep(ended(trained("8")), loads), 90.0) == 0.0


def test_of_trials_that_may_come_each_takes_as_long_as_the_slowest_rank() -> None:
    done, slower = ended(trained("8")), ended(trained("32", seconds=40.0), now=40.0)
    assert left.of_sweep(sweep(done, slower, at_once=1, at_most=4), 40.0) == 80.0
    assert left.of_sweep(sweep(LiveTrial("8", 0), at_most=4), 0.0) is None
