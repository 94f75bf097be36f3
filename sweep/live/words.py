"""How a trial and the sweep stand, in words: for the table's head, and for lines where there is no table."""

from collections.abc import Mapping

from sweep.common.formatting import NOTHING, clock
from sweep.live import left
from sweep.live.state import LiveSweep, LiveTrial, counted


def summary(sweep: LiveSweep, now: float) -> list[str]:
    """How far the sweep is, in parts."""
    counts = counted(list(sweep.trials.values()))  # another thread adds to them
    running, waiting = counts.pop("running", 0), counts.pop("waiting", 0)
    done = sum(counts.values())
    counts.pop("completed", 0)
    of = str(done + running + waiting) if sweep.at_most is None else f"at most {sweep.at_most}"
    further = running + waiting > 0 or done < (sweep.at_most or 0)
    return [
        f"{done} of {of} trials done" + (f" ({in_words(counts)})" if counts else ""),
        f"{running} running" if sweep.devices is None else sweep.devices.busy(running),
        f"elapsed {clock(now - sweep.began)}",
        *([f"time left {_time_left(sweep, now)}"] if further else []),
    ]


def _time_left(sweep: LiveSweep, now: float) -> str:
    seconds = left.of_sweep(sweep, now)
    if seconds is None:
        return NOTHING
    return clock(seconds) if sweep.at_most is None else f"at most {clock(seconds)}"


def in_words(counts: Mapping[str, int]) -> str:
    """2 completed, 1 waiting."""
    return ", ".join(f"{number} {status}" for status, number in counts.items())


def sentence(trial: LiveTrial) -> str:
    """How far a trial is, and what it does."""
    parts = [f"step {trial.step}{f' of {trial.total}' if trial.total else ''}"] if trial.step or not trial.doing else []
    parts += [] if trial.loss is None else [f"loss {trial.loss:.4f}"]
    parts += [trial.doing] if trial.doing else []
    parts += [] if trial.doing or trial.steps_per_second is None else [f"{trial.steps_per_second:.2f} steps/s"]
    parts += [] if (seconds := left.of_trial(trial)) is None else [f"{clock(seconds)} left"]
    return ", ".join(parts)
