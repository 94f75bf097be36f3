"""A sweep's losses to the last bit, small enough to keep, and what is not the same in two of them."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweep.store.loading import Sweep

if TYPE_CHECKING:
    import pandas as pd

LOSSES = ("train_loss", "eval_loss")


def bits_of_trials(sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Of each trial its status, its losses, and a digest of the loss of every step and every held-out example.

    A float's shortest decimal form, as JSON has it, is read back as the same bits.
    """
    steps, evals = dict(iter(sweep.steps.groupby("trial_id"))), dict(iter(sweep.evals.groupby("trial_id")))
    return {
        row["trial_id"]: {
            "status": row["status"],
            **{name: _finite(row[name]) for name in LOSSES},
            "steps": _digest(steps.get(row["trial_id"]), "step", "loss"),
            "examples": _digest(evals.get(row["trial_id"]), "example_id", "loss_sum"),
        }
        for row in sorted(sweep.records(), key=lambda row: str(row["trial_id"]))
    }


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None


def _digest(rows: "pd.DataFrame | None", order: str, name: str) -> str | None:
    """Hash of a column's doubles in the order of another; None without rows."""
    if rows is None:
        return None
    values = rows.sort_values(order)[name].to_numpy("<f8")
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def differences(recorded: Mapping[str, Any] | None, found: Mapping[str, Any]) -> list[str]:
    """What of a row is not as it was recorded: its machine, its command, its trials to the last bit, its answer."""
    if recorded is None:
        return ["not recorded"]
    now = json.loads(json.dumps(found))
    places = ["machine", "flags", "pick", "decided"]
    unlike = [(key, recorded[key], now[key]) for key in places] + _of_trials(recorded["trials"], now["trials"])
    return [f"{what}: {before} became {after}" for what, before, after in unlike if before != after]


def _of_trials(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(what, before, after) of each trial's values; of a trial that only one has, of the whole."""
    found: list[tuple[str, Any, Any]] = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            found.append((name, one, other))
        else:
            found += [(f"{name} {key}", one[key], other.get(key)) for key in one]
    return found
