"""The policy of a sweep, as recorded in sweep.json: the same for the driver and for a later replay."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.ladder import Ladder
from sweep.plan.shrink import can_shrink
from sweep.policies.grid import Grid
from sweep.policies.policy import NO_ROOM, Policy, Result
from sweep.policies.race import Judge, Race
from sweep.policies.tune import Tune
from sweep.policies.tune_then_seeds import TuneThenSeeds
from sweep.space import FULL, Rank, Trial, trials
from sweep.store.columns import LOSSES
from sweep.store.store import Row


def policy_of(record: Mapping[str, Any], candidates: Sequence[Trial], judge: Judge) -> Policy:
    """The policy of a sweep.

    Args:
        record: the content of sweep.json.
        candidates: every trial that it may request.
        judge: evaluates a race.
    """
    race = judge if record.get("race") else None
    tune = record.get("tune")
    if not tune:
        return Race.of(candidates, race) if race else Grid(tuple(candidates))
    by_place = {(trial.rank, trial.axes[tune["key"]], trial.seed): trial for trial in candidates}

    def make(rank: Rank, value: float, seed: int) -> Trial:
        return by_place[rank, value, seed]

    seeds = tuple(dict.fromkeys(trial.seed for trial in candidates))
    walk = Tune(
        key=tune["key"],
        ranks=tuple(dict.fromkeys(trial.rank for trial in candidates)),
        ladder=Ladder(tuple(tune["ladder"]), tune["start"]),
        full_ladder=Ladder(tuple(tune["full_ladder"]), tune["full_start"]),
        make=make,
        seed=seeds[0],
        margin=record["policy"]["margin"],
        rule=record["rules"]["lora_alpha_rule"],
    )
    return TuneThenSeeds(walk, seeds, race)


def candidates_of(record: Mapping[str, Any]) -> list[Trial]:
    """Every trial that the recorded policy may request. Ids match, since no redacted setting is part of a trial's id."""
    space, tune, rule = record["policy"], record.get("tune"), record["rules"]["lora_alpha_rule"]
    if not tune:
        return trials(record["base"], space["lora_r"], space["seed"], space["grid"], rule)
    ladders = ((rank, tune["full_ladder" if rank == FULL else "ladder"]) for rank in space["lora_r"])
    return [
        trial
        for rank, values in ladders
        for trial in trials(record["base"], [rank], space["seed"], {tune["key"]: values}, rule)
    ]


def result_of(row: Row, trial: Trial | None) -> Result:
    """The part of a trial's row that policies use."""
    broken = any(row.get(name) is not None and not math.isfinite(row[name]) for name in LOSSES)
    return Result(
        trial_id=row["trial_id"],
        status="diverged" if broken and row["status"] == "completed" else row["status"],
        loss=row["eval_loss"] if row.get("eval_loss") is not None else row.get("train_loss"),
        gpu_hours=_gpu_hours(row),
        shrunk=row.get("micro_batch") is not None,
        shrinkable=trial is not None and can_shrink(trial, row, NO_ROOM),
    )


def _gpu_hours(row: Row) -> float:
    """Device time: of its training if known, otherwise of its last attempt. A CPU slot counts as a GPU."""
    seconds = row.get("train_runtime")
    if seconds is None and row.get("started_at") and row.get("ended_at"):
        seconds = (row["ended_at"] - row["started_at"]).total_seconds()
    return (seconds or 0.0) * (row.get("gpus_per_trial") or 1.0) / 3600
