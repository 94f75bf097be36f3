"""Predicts a sweep's disk usage before it starts: checkpoints and rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.common.formatting import size
from sweep.space import Trial

STEP_BYTES, EXAMPLE_BYTES = 60, 15  # per row of a Parquet file with a thousand rows or more


@dataclass(frozen=True)
class Footprint:
    """Bytes of a trial's checkpoints: the one to resume from (weights and optimizer), and the final one (weights).

    With load_best_model_at_end, the one to resume from holds the best weights too.
    """

    newest: int
    final: int


def sentences(trials: Sequence[Trial], sizes: Mapping[str, Footprint], at_most: int | None = None) -> list[str]:
    """What `--dry_run` says about the trials that would run.

    Args:
        sizes: the footprints that are known.
        at_most: how many of the trials can run, where they are chosen while the sweep runs: the largest are counted.
    """
    finals = {name: one.final for name, one in sizes.items()}
    trials = sorted(trials, key=lambda trial: finals.get(trial.trial_id, 0), reverse=True)[:at_most]
    known = [sizes[trial.trial_id] for trial in trials if trial.trial_id in sizes]
    bound = "" if at_most is None else "at most "
    lines = []
    if known:
        lines.append(
            f"Disk, checkpoints: {bound}{size(sum(one.final for one in known))} at the end, for {bound}{len(known)} trials: each keeps its "
            f"final weights ({_range(one.final for one in known)}). While a trial trains it keeps its newest checkpoint, with the "
            f"optimizer ({_range(one.newest for one in known)}), and for a moment two."
        )
    if len(known) < len(trials):
        lines.append(f"Disk, checkpoints: not known for {len(trials) - len(known)} trials.")
    if trials:
        lines.append(f"Disk, rows: {bound}{_rows(trials)}.")
    return lines


def _rows(trials: Sequence[Trial]) -> str:
    steps = [int(trial.settings.get("max_steps") or 0) for trial in trials]
    held_out = [trial.settings.get("test_split_size") for trial in trials]
    examples = sum(count for count in held_out if isinstance(count, int) and count >= 1)
    parts = [
        f"{size(STEP_BYTES * sum(steps))} for the steps of all trials"
        if all(step > 0 for step in steps)
        else f"{size(1000 * STEP_BYTES)} for 1,000 steps of a trial"
    ]
    parts += [f"{size(EXAMPLE_BYTES * examples)} for their held-out examples"] if examples else []
    return " and ".join(parts) + "; Ray Tune's log and the trials' logs are on top of that"


def _range(values: Iterable[int]) -> str:
    least, *_, most = sorted([*values] * 2)
    return size(least) if size(least) == size(most) else f"{size(least)} to {size(most)}"
