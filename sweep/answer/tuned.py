"""With `--tune KEY`, chooses each rank's best value of the setting from the measured losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.answer.answer import Edge, Tuned
from sweep.answer.groups import SWEEP, Group
from sweep.answer.measured import Measured
from sweep.space import FULL
from sweep.statistics.choice import best_values, corrected, value_means
from sweep.statistics.stats import CONFIDENCE, Floats
from sweep.store.loading import Sweep
from sweep.store.store import Row

_WITHOUT_LOSS = {"diverged", "oom", "failed"}  # endings without a loss


@dataclass(frozen=True)
class Choice:
    """The configurations to compare.

    Attributes:
        groups: each rank's chosen one, or all if nothing was tuned.
        tuned: the tuned setting, if any.
        losses: by label, mean losses over the seeds that all values of a rank share.
        confidence: at which to compare, corrected for the choice.
    """

    groups: tuple[Group, ...]
    tuned: Tuned | None = None
    losses: Mapping[str, float] | None = None
    confidence: float = CONFIDENCE

    def chosen(self, label: str) -> bool | None:
        return any(one.label == label for one in self.groups) if self.tuned else None

    def loss(self, label: str) -> float | None:
        found = (self.losses or {}).get(label, math.nan)
        return found if math.isfinite(found) else None


def tuned_setting(sweep: Sweep) -> str | None:
    """The setting that the sweep tuned, according to sweep.json."""
    key = _note(sweep.config).get("key")
    return key if isinstance(key, str) and key in {*sweep.axes, "lora_alpha"} else None


def _note(config: Mapping[str, Any]) -> Mapping[str, Any]:
    note = config.get("tune")
    return note if isinstance(note, Mapping) else {}


def choose(sweep: Sweep, groups: Sequence[Group], measured: Measured) -> Choice:
    """Each rank's best group. Groups that also differ in other settings are chosen separately."""
    key = tuned_setting(sweep)
    if key is None:
        return Choice(tuple(groups))
    chosen, losses = [], {}
    for members in _families(groups, key):
        runs = _losses(members, measured)
        chosen.append(members[_best(runs)])
        losses.update({one.label: float(mean) for one, mean in zip(members, value_means(runs), strict=True)})
    tried = sum(bool(measured.by_seed(one)) for one in groups)
    compared = sum(bool(measured.by_seed(one)) for one in chosen)
    edges = {
        one.label: edge
        for one in chosen
        if measured.by_seed(one) and (edge := _edge(one, key, _note(sweep.config_of(one.rows[0]))))
    }
    return Choice(tuple(chosen), Tuned(key, tried, edges), losses, corrected(compared, tried))


def _families(groups: Sequence[Group], key: str) -> list[list[Group]]:
    """Groups that differ only in the tuned setting, with its values ascending as in `groups`."""
    found: dict[tuple[Any, ...], list[Group]] = {}
    for one in groups:
        first = one.rows[0]
        alpha = None if key == "lora_alpha" else first.get("lora_alpha")
        others = tuple((name, value) for name, value in one.axes.items() if name != key)
        found.setdefault((one.method, first.get("lora_r"), alpha, *others), []).append(one)
    return list(found.values())


def _losses(members: Sequence[Group], measured: Measured) -> Floats:
    """Shape (values, seeds), as sweep.statistics.choice expects them."""
    by_seed = [{row.get("seed"): _loss(row, measured) for row in one.rows} for one in members]
    seeds = list(dict.fromkeys(seed for one in by_seed for seed in one))
    return np.array([[one.get(seed, math.nan) for seed in seeds] for one in by_seed])


def _loss(row: Row, measured: Measured) -> float:
    name = row["trial_id"]
    if name in measured.losses:
        return measured.losses[name]
    ended = row["status"] in _WITHOUT_LOSS or (row["status"] == "completed" and name not in measured.bad)
    return math.inf if ended else math.nan


def _best(runs: Floats) -> int:
    """Index of the best value. One with more seeds than the others was already chosen while the sweep ran."""
    seeds = (~np.isnan(runs)).sum(axis=-1)
    return int(best_values(np.where((seeds == seeds.max())[:, None], runs, np.nan)))


def _edge(one: Group, key: str, note: Mapping[str, Any]) -> Edge | None:
    """The end of the ladder at which a value is, if it is at one."""
    ladder = note.get("full_ladder", note.get("ladder")) if one.method == FULL else note.get("ladder")
    values = [value for value in ladder if isinstance(value, int | float)] if isinstance(ladder, list) else []
    own = one.axes.get(key, one.rows[0].get(key))
    if len(values) < 2 or own not in (min(values), max(values)):
        return None
    return "lowest" if own == min(values) else "highest"


def untried(sweep: Sweep, groups: Sequence[Group]) -> list[str]:
    """The requested ranks that the sweep did not train."""
    by_sweep: dict[Any, list[Row]] = {}
    for one in groups:
        by_sweep.setdefault(one.axes.get(SWEEP), []).append(one.rows[0])
    found = []
    for name, rows in (by_sweep or {None: []}).items():
        axes = (sweep.config_of(rows[0]) if rows else sweep.config).get("axes")
        asked = axes.get("lora_r", []) if isinstance(axes, Mapping) else []
        met = [row.get("lora_r") or FULL for row in rows]
        own = "" if name is None else f" {SWEEP}={name}"
        found += [f"{rank if rank == FULL else f'r={rank}'}{own}" for rank in asked if rank not in met]
    return found
