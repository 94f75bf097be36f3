"""The live table's columns: what each says of a trial, how wide it is, and which are left out where there is no room."""

from collections.abc import Sequence

from sweep.common.formatting import NOTHING, clock, size
from sweep.live import left
from sweep.live.layout import Column
from sweep.live.state import LiveTrial

STATUS = (10, 24)  # characters of `evaluating`, and of `evaluating, 24 rows left`
CURVE = (8, 40)
AXIS = (8, 24)  # a value may be a path


def columns(trials: Sequence[LiveTrial], shown: Sequence[LiveTrial]) -> list[Column]:
    """From left to right. Most widths follow from all trials, so that they stay as trials go on and others are shown."""
    rank = _widest("rank", [trial.rank for trial in trials])
    seed = _widest("seed", [str(trial.seed) for trial in trials])
    step = _widest("step", [_step(trial, trial.total) for trial in trials])
    loss = _widest("2.5000", [_loss(trial) for trial in shown])
    memory = any(trial.memory_bytes for trial in trials)
    return [
        Column("rank", rank, rank, lambda trial, _: trial.rank, right=False),
        Column("seed", seed, seed, lambda trial, _: str(trial.seed)),
        *(_axis(key, trials) for key in dict.fromkeys(key for trial in trials for key in trial.axes)),
        Column("status", *STATUS, _status, right=False),
        Column("step", step, step, lambda trial, _: _step(trial, trial.step), left_out=1),
        Column("loss", CURVE[0] + 1 + loss, CURVE[1] + 1 + loss, lambda trial, width: _losses(trial, width, loss)),
        Column("steps/s", 7, 7, _rate, left_out=4),
        *([Column("peak mem", 8, 9, _memory, left_out=3)] if memory else []),
        Column("left", 7, 8, _left, left_out=2),
    ]


def _axis(key: str, trials: Sequence[LiveTrial]) -> Column:
    widest = min(AXIS[1], _widest(key, [trial.axes.get(key, "") for trial in trials]))
    return Column(key, min(AXIS[0], widest), widest, lambda trial, _: trial.axes.get(key, ""), right=False)


def _widest(heading: str, texts: Sequence[str]) -> int:
    return max(len(text) for text in (heading, *texts))


def _status(trial: LiveTrial, width: int) -> str:
    return (trial.doing if len(trial.doing) <= width else trial.phase) or trial.status


def _step(trial: LiveTrial, step: int) -> str:
    return f"{step}/{trial.total}" if trial.total else str(trial.step or "")


def _losses(trial: LiveTrial, width: int, loss: int) -> str:
    """The curve, which grows to the right as the trial goes on, and the last loss."""
    curve = width - 1 - loss
    return f"{trial.curve.drawn(curve, trial.total):{curve}} {_loss(trial):>{loss}}"


def _loss(trial: LiveTrial) -> str:
    return "" if trial.loss is None else f"{trial.loss:.4f}"


def _rate(trial: LiveTrial, width: int) -> str:
    return "" if trial.steps_per_second is None else f"{trial.steps_per_second:.2f}"


def _memory(trial: LiveTrial, width: int) -> str:
    return size(trial.memory_bytes) if trial.memory_bytes else ""


def _left(trial: LiveTrial, width: int) -> str:
    """A dash where it is not known; nothing for a trial that does not run."""
    if not trial.running:
        return ""
    seconds = left.of_trial(trial)
    return NOTHING if seconds is None else clock(seconds)
