"""Runs that went wrong and still ended with a loss: far off those of the same configuration under other seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweep.answer.groups import Group

_LEAST = math.log(1.05)  # a run within 5 % of its siblings is never called bad: that is what a spread is for
_TIMES = 10.0  # a normal spread puts one run in 10²³ this many standard deviations off
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_FEWEST = 3  # of two runs, nobody knows which is the odd one


@dataclass(frozen=True)
class FarOff:
    """A run's loss, and the median of its configuration's."""

    loss: float
    usual: float


def far_off(groups: Sequence[Group], losses: Mapping[str, float]) -> dict[str, FarOff]:
    """The runs far off their siblings by the spread that all runs have about their configuration's median.

    A seed that is far off in every configuration is no bad run: the differences between them stand.
    """
    usual, runs = {}, {}
    for one in groups:
        own = {row["trial_id"]: row.get("seed") for row in one.completed if row["trial_id"] in losses}
        if len(own) >= _FEWEST:
            middle = statistics.median(losses[name] for name in own)
            usual.update(dict.fromkeys(own, middle))
            runs.update(own)
    distance = {name: abs(math.log(losses[name] / usual[name])) for name in runs}
    apart = sorted(value for value in distance.values() if value)  # the median of three is its own run
    if not apart:
        return {}
    least = max(_LEAST, _TIMES * _NORMAL * apart[(len(apart) - 1) // 2])
    found = [name for name, value in distance.items() if value > least]
    everywhere = {seed for seed in runs.values() if all(name in found for name in runs if runs[name] == seed)}
    several = len({usual[name] for name in runs}) > 1
    return {name: FarOff(losses[name], usual[name]) for name in found if not (several and runs[name] in everywhere)}
