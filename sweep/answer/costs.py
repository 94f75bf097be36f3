"""What a configuration costs, how certain that is, and which of several is the cheapest."""

import statistics
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.answer.groups import Group
from sweep.statistics import stats
from sweep.store.columns import COSTS
from sweep.store.store import Row

if TYPE_CHECKING:
    from sweep.store.loading import Sweep

# Costs closer than this are equal. 1.3 % less time once made r=16 the pick over r=4, with equal loss, and was noise. On a
# shared machine times differ by more: two seeds of one rank of the demo, with two trials at a time, by 8 %.
TOLERANCE: Mapping[str, float] = {"memory": 0.01, "time": 0.02, "parameters": 0.01}
TOLERANCE_SHARED = 0.1
_BLOCKS = 10  # of a run's steps, since neighboring steps tend to be slow together


@dataclass(frozen=True)
class Cost:
    """One cost of a configuration.

    Attributes:
        value: None if it was not measured.
        error: the standard error of the value, as a fraction of it; 0 if unknown.
        degrees: of freedom of the error.
        tolerance: the fraction by which another must exceed the value to count as more expensive.
    """

    value: float | None
    error: float = 0.0
    degrees: float = 0.0
    tolerance: float = 0.0


Costs = Mapping[str, Cost]


def costs_of(one: Group, sweep: "Sweep", shared: Set[str]) -> Costs:
    """A configuration's costs: memory as the largest, the others as means over the completed trials.

    Args:
        shared: the trials that shared a machine or a GPU.
    """
    found = {name: Cost(one.result(column), tolerance=TOLERANCE[name]) for name, column in COSTS.items()}
    trials = {row["trial_id"] for row in one.completed}
    tolerance = TOLERANCE_SHARED if trials & shared else TOLERANCE["time"]
    error, degrees = _error(one, COSTS["time"], sweep)
    found["time"] = Cost(found["time"].value, error, degrees, tolerance)
    return found


def cheapest(costs: Sequence[Costs], order: Sequence[str]) -> int:
    """Index of the cheapest: the first cost decides, the next among those that do not clearly cost more, and so on.

    A cost that is null for any remaining candidate decides nothing. If no cost tells them apart, the first one wins.
    """
    candidates = list(range(len(costs)))
    for name in order:
        values = {index: value for index in candidates if (value := costs[index][name].value) is not None}
        if len(values) == len(candidates):
            least = min(candidates, key=values.__getitem__)
            candidates = [index for index in candidates if not _costs_more(costs[index][name], costs[least][name])]
    return candidates[0]


def _costs_more(one: Cost, other: Cost) -> bool:
    """Whether one costs more than the other by more than the tolerance and, at 95 %, by more than the noise of both."""
    assert one.value is not None and other.value is not None
    degrees = one.degrees + other.degrees
    noise = np.hypot(one.error, other.error) * (float(stats.quantile(0.025, degrees)) if degrees else 0.0)
    return bool(one.value > other.value * (1 + max(one.tolerance, other.tolerance, float(noise))))


def _error(one: Group, column: str, sweep: "Sweep") -> tuple[float, float]:
    """Relative standard error of a time, and its degrees of freedom: over seeds, or with one seed over its steps."""
    values = one.values(column)
    if len(values) == 1:
        (trial,) = (row["trial_id"] for row in one.completed if row.get(column) is not None)
        values = _step_times(sweep, trial)
    if len(values) < 2 or not (mean := statistics.fmean(values)):
        return 0.0, 0.0
    return statistics.stdev(values) / len(values) ** 0.5 / mean, len(values) - 1.0


def _step_times(sweep: "Sweep", trial: str) -> list[float]:
    """Mean step times of each tenth of a trial."""
    steps = sweep.steps
    times = steps.loc[steps["trial_id"] == trial, "step_time_s"].dropna().to_numpy(dtype=float)
    return [float(part.mean()) for part in np.array_split(times, _BLOCKS)] if len(times) >= 2 * _BLOCKS else []


def concurrent_trials(rows: Iterable[Row]) -> frozenset[str]:
    """The trials that had a share of a GPU, or ran on a machine while another trial did."""
    rows = list(rows)
    found = {row["trial_id"] for row in rows if 0 < (row.get("gpus_per_trial") or 0) < 1}
    timed = [row for row in rows if row.get("started_at") and row.get("ended_at") and row.get("hostname")]
    latest: dict[str, Row] = {}
    for row in sorted(timed, key=lambda row: row["started_at"]):
        before = latest.get(row["hostname"])
        if before and row["started_at"] < before["ended_at"]:
            found |= {row["trial_id"], before["trial_id"]}
        if not before or row["ended_at"] > before["ended_at"]:
            latest[row["hostname"]] = row
    return frozenset(found)
