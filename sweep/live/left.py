"""How long trials and the sweep take yet, from what was measured in this run. What was not measured has no estimate."""

import heapq
import statistics
from collections.abc import Sequence

from sweep.live.state import LiveSweep, LiveTrial


def of_trial(trial: LiveTrial) -> float | None:
    """Seconds until its last step, at the rate so far; None while it does not step, or where its last step is not known."""
    if not trial.running or trial.phase or not trial.steps_per_second or not trial.total:
        return None
    return max(0, trial.total - trial.step) / trial.steps_per_second


def of_sweep(sweep: LiveSweep, now: float) -> float | None:
    """Seconds until all trials have ended that are wanted; where more may be wanted, until at most so many have.

    A trial that waits takes as long as those of its rank that have ended, else as one that runs will take. One that may be
    wanted later takes as long as those of the slowest rank. None where there is no such measurement.
    """
    trials = list(sweep.trials.values())
    means = durations(trials, now)
    running = [_running(trial, means, now) for trial in trials if trial.running]
    waiting = [means.get(trial.rank) for trial in trials if trial.status == "waiting"]
    further = max(0, (sweep.at_most or 0) - len(trials))
    waiting += [max(means.values(), default=None)] * further
    at_once = len(running) if sweep.devices is None else max(len(running), sweep.devices.at_once)
    return makespan(running, waiting, at_once)


def durations(trials: Sequence[LiveTrial], now: float) -> dict[str, float]:
    """Mean seconds of a whole trial by rank: of completed ones, else of those that run."""
    found: dict[str, float] = {}
    for done in (False, True):  # what has ended replaces what is expected
        took: dict[str, list[float]] = {}
        for trial in trials:
            if trial.over is done and (seconds := _whole(trial, now)) is not None:
                took.setdefault(trial.rank, []).append(seconds)
        found |= {rank: statistics.fmean(all_of) for rank, all_of in took.items()}
    return found


def _whole(trial: LiveTrial, now: float) -> float | None:
    """Seconds that all of a trial takes: those since it was started, and what the steps before a resumed one take."""
    if trial.started is None or not trial.first:
        return None
    if trial.status == "completed" and trial.ended is not None:
        took = trial.ended - trial.started
    elif (left := of_trial(trial)) is not None:
        took = now - trial.started + left
    else:
        return None
    if trial.first == 1:
        return took
    return took + (trial.first - 1) / trial.steps_per_second if trial.steps_per_second else None


def _running(trial: LiveTrial, means: dict[str, float], now: float) -> float | None:
    """Seconds that a running trial takes yet; of one that loads or evaluates, by those of its rank."""
    if (left := of_trial(trial)) is not None:
        return left
    mean = means.get(trial.rank)
    return None if mean is None or trial.started is None else max(0.0, mean - (now - trial.started))


def makespan(running: Sequence[float | None], waiting: Sequence[float | None], at_once: int) -> float | None:
    """Seconds until all have ended, each that waits begun in its turn as soon as there is room; None if one is not known."""
    ends = [one for one in running if one is not None]
    lasts = [one for one in waiting if one is not None]
    unknown = len(ends) + len(lasts) < len(running) + len(waiting)
    if unknown or (lasts and at_once < 1):
        return None
    ends += [0.0] * (at_once - len(ends))
    heapq.heapify(ends)
    for one in lasts:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends, default=0.0)
