"""Plans a sweep: its trials, which of them are done, and the content of sweep.json. Starts nothing."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sweep import redact
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract import identity
from sweep.errors import NotASweep, OtherSweep, StoreError
from sweep.plan.shrink import can_shrink
from sweep.space import Trial, ignored_in_trial_id
from sweep.store.columns import AGAIN
from sweep.store.store import Row, Store, unreadable

# Columns of a trial's row on which decisions about the next trials are based.
KNOWN = (
    *("trial_id", "status", "micro_batch", "eval_loss", "train_loss"),
    *("train_runtime", "gpus_per_trial", "started_at", "ended_at"),
)


@dataclass(frozen=True)
class Plan:
    """The trials that a command may run; for those that have run, by id, how they ended and the KNOWN columns of their rows."""

    config: SweepConfig
    trials: Sequence[Trial]
    ended: Mapping[str, str]
    shrinkable: frozenset[str] = frozenset()  # trials that ran out of memory and that --on_oom shrink runs once more
    rows: Mapping[str, Row] = field(default_factory=dict)
    made_of: identity.Identity = field(default_factory=dict)
    sweep_id: str | None = None  # random, drawn for a new sweep; None for sweeps of versions without ids

    @property
    def todo(self) -> list[Trial]:
        """Trials that may run: those without a row, and those that may end differently now."""
        ended, again = self.ended, self.shrinkable if self.config.on_oom == "shrink" else frozenset()
        return [one for one in self.trials if ended.get(one.trial_id, "failed") in AGAIN or one.trial_id in again]


def make_plan(config: SweepConfig, store: Store, made_of: identity.Identity | None = None) -> Plan:
    """Compares the configuration, the model and the data with what the sweep's folder holds.

    Raises:
        OtherSweep: the folder holds a sweep with another base configuration, model or data.
        StoreError: its files cannot be used.
    """
    trials, made_of = config.trials(), made_of or {}
    try:
        before = store.read_sweep()
    except NotASweep:
        if store.exists("sweep.json"):
            raise
        _refuse_leftovers(store)
        return Plan(config, trials, {}, made_of=made_of, sweep_id=secrets.token_hex(8))
    refuse_other(before, content(config, trials, made_of), config.location)
    try:
        table = store.trials().select(KNOWN).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise unreadable(config.location, error) from error
    rows = {row["trial_id"]: row for row in table}
    shrinkable = frozenset(trial.trial_id for trial in trials if can_shrink(trial, rows.get(trial.trial_id)))
    ended = {name: row["status"] for name, row in rows.items()}
    return Plan(config, trials, ended, shrinkable, rows, made_of, before.get("id"))


def _refuse_leftovers(store: Store) -> None:
    """Raises StoreError if the folder has parts of a sweep but no sweep.json: its checkpoints would be resumed from unchecked."""
    found = [name for name in ("trials", "steps", "checkpoints", "tune") if store.exists(name)]
    if found:
        raise StoreError(
            f"{store.location} holds parts of a sweep ({', '.join(found)}) but no sweep.json. "
            "Restore that, remove the folder, or give this sweep another --name."
        )


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any], location: str) -> None:
    """Raises OtherSweep, naming every difference, unless both are the same sweep apart from the values of its axes."""
    axes = {**before.get("axes", {}), **now["axes"]}
    ignored = ignored_in_trial_id({**before.get("base", {}), **axes}) & ignored_in_trial_id(
        {**now.get("base", {}), **axes}
    )
    differences = []
    for part in ("base", "rules"):
        old, new = before.get(part, {}), now.get(part, {})
        keys = [key for key in dict.fromkeys([*old, *new]) if key not in axes and key not in ignored]
        differences += [
            f"{key}: {_as_text(old.get(key))} there, {_as_text(new.get(key))} now"
            for key in keys
            if old.get(key) != new.get(key)
        ]
    old, new = (one.get("tune", {}).get("key") for one in (before, now))
    differences += [f"tune: {old or 'nothing'} there, {new or 'nothing'} now"] if old != new else []
    differences += identity.changes(before.get("content", {}), now["content"])
    if differences:
        lines = "\n".join(f"  - {one}" for one in differences)
        raise OtherSweep(
            f"{location} holds a sweep with another base configuration:\n{lines}\n"
            "Give this one another --name, or compare the values within one sweep with --grid KEY=V1,V2."
        )


def _as_text(value: Any) -> str:
    return "its default" if value is None else json.dumps(value, ensure_ascii=False)


def content(config: SweepConfig, trials: Sequence[Trial], made_of: identity.Identity) -> dict[str, Any]:
    """The content of sweep.json for this command's part of a sweep."""
    everything = {
        "name": config.name,
        "base": dict(config.settings),
        "rules": config.recorded("rules"),
        "axes": _axes(config),
        "trials": []
        if config.chooses
        else [trial_entry(trial) for trial in trials],  # otherwise added once they are requested
        "content": identity.content(made_of),
        "flags": {key: value for key, value in config.recorded("flags").items() if value != FLAGS[key].default},
        "margin": config.margin,
    }
    written: dict[str, Any] = redact.value(everything)
    return {**written, **_choosing(config)}


def _axes(config: SweepConfig) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"lora_r": list(config.lora_r), "seed": list(config.all_seeds)}
    found |= {key: list(values) for key, values in config.grid.items()}
    if config.ladders:
        found[config.ladders.key] = sorted({*config.ladders.lora.values, *config.ladders.full.values})
    return found


def _choosing(config: SweepConfig) -> dict[str, Any]:
    """What sweep.policies.record makes this command's policy from. `tune` and `race` are empty if it does neither."""
    ladders = config.ladders
    tune = (
        {
            "key": ladders.key,
            "ladder": list(ladders.lora.values),
            "start": ladders.lora.start,
            "full_ladder": list(ladders.full.values),
            "full_start": ladders.full.start,
        }
        if ladders
        else {}
    )
    space = {"lora_r": list(config.lora_r), "seed": list(config.all_seeds), "grid": dict(config.grid)}
    policy = {**space, "margin": config.margin, "on_oom": config.on_oom, "budget_gpu_hours": config.budget_gpu_hours}
    return {"tune": tune, "race": {"max_seeds": config.max_seeds} if config.race else {}, "policy": policy}


def trial_entry(trial: Trial) -> dict[str, Any]:
    """A trial as sweep.json lists it."""
    columns = {key: value for key, value in trial.columns().items() if key not in ("settings", "config_hash")}
    return {**columns, **trial.axis_columns()}


def merge(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The new sweep.json: this command's trials and axis values added to the earlier ones."""
    trials = {trial["trial_id"]: trial for trial in [*before.get("trials", []), *now["trials"]]}
    axes = {key: _union(before.get("axes", {}).get(key, []), values) for key, values in now["axes"].items()}
    known = identity.merge(before.get("content", {}), now["content"])
    return {
        **before,
        **now,
        "trials": list(trials.values()),
        "axes": {**before.get("axes", {}), **axes},
        "content": known,
    }


def _union(old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    return [*old, *(value for value in new if value not in old)]
