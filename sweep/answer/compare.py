"""Compares configurations: what each pair's interval covers, and how far each configuration is above the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep.answer.answer import Basis, Comparison, Verdict
from sweep.answer.groups import Group
from sweep.answer.measured import Measured
from sweep.statistics import noise, stats
from sweep.statistics.stats import AboveBest, Difference, Floats

UNEVEN = 5.0  # times the others' spread over seeds: beyond this, pooled bounds do not keep their error rate
# A configuration with fewer than three seeds does not hold up a decision if it is worse by this many margins, and by 2 %:
# with training noise large enough to make up for that, no other rank would be shown to be within the margin either.
FAR, FAR_LEAST = 4.0, 0.02
_SAME = 1e-12  # log losses closer than this are equal
_STRENGTH: dict[Basis, int] = {"none": 0, "examples": 1, "seeds": 2}


@dataclass(frozen=True)
class Compared:
    """All pairs of the compared configurations.

    Attributes:
        groups: configurations that have the metric.
        levels: log loss over all seeds: the mean if all have the same seeds, otherwise adjusted for missing ones.
        linked: whether chains of shared seeds connect all of them; if not, a level is the mean over its own seeds.
        pairs: the difference of each pair (k, j), k < j; pairs without an interval are missing.
        bases: what each pair's interval covers.
        uneven: configurations whose spread over seeds is more than UNEVEN times that of the others, with the ratio.
        without_spread: configurations whose seeds gave exactly the same losses, or the same difference from another.
    """

    groups: tuple[Group, ...]
    levels: Floats
    linked: bool
    pairs: Mapping[tuple[int, int], Difference]
    bases: Mapping[tuple[int, int], Basis]
    above: AboveBest
    measured: Measured
    margin: float
    uneven: Mapping[int, float]
    without_spread: frozenset[int]

    @property
    def differences(self) -> Floats:
        """How far each is above the lowest measured one, as a fraction."""
        found: Floats = np.expm1(self.levels - self.levels.min())
        return found

    @property
    def best(self) -> int:
        return int(np.argmin(self.levels))

    @property
    def basis(self) -> Basis:
        """The weakest of all pairs, except for configurations that are out of the running."""
        others = [index for index in range(len(self.groups)) if index != self.best]
        running = {
            index
            for index in others
            if self.basis_between(index, self.best) == "seeds" or not self.far_worse(index, self.best)
        }
        running.add(self.best)
        needed = [basis for pair, basis in self.bases.items() if running.issuperset(pair)]
        return min(needed or self.bases.values(), key=_STRENGTH.__getitem__, default="none")

    def basis_between(self, one: int, other: int) -> Basis:
        """What the interval between two configurations covers."""
        return self.bases[min(one, other), max(one, other)]

    def basis_of(self, index: int) -> Basis:
        """The weakest of a configuration's pairs, except for pairs with one that is out of the running."""
        others = [other for other in range(len(self.groups)) if other != index]
        own = {other: self.basis_between(index, other) for other in others}
        needed = [basis for other, basis in own.items() if basis == "seeds" or not self.far_worse(other, index)]
        if "seeds" not in needed:
            needed = list(own.values())
        return min(needed, key=_STRENGTH.__getitem__, default="none")

    def far_worse(self, index: int, other: int) -> bool:
        """Whether a configuration is so much worse than another that no seed could make up for it."""
        limit = max(FAR * self.margin, FAR_LEAST)
        if self.basis_between(index, other) == "none":
            return bool((1 + self.differences[index]) / (1 + self.differences[other]) - 1 > limit)
        return bool(self.above.pair_lower[index, other] > limit)

    def verdict(self, index: int) -> Verdict:
        """Whether it is within the margin of the best, as shown or, if there is no interval, as measured."""
        if self.basis_of(index) == "none":
            return "within" if self.differences[index] <= self.margin else "worse"
        if self.above.upper[index] <= self.margin:
            return "within"
        return "worse" if self.above.lower[index] > self.margin else "undecided"

    def mean(self, index: int) -> float:
        """A configuration's mean loss or, if not all have the same seeds, its level: what `differences` compares."""
        by_seed = [self.measured.by_seed(one) for one in self.groups]
        if all(one.keys() == by_seed[0].keys() for one in by_seed):
            return float(np.mean([self.measured.losses[name] for name in by_seed[index].values()]))
        return math.exp(self.levels[index])

    def diverged(self, index: int) -> int:
        """Number of a configuration's runs that ended without a finite loss."""
        return sum(row["status"] == "diverged" for row in self.groups[index].rows)

    def far_off(self, index: int) -> int:
        """Number of runs whose loss is far from that of their siblings."""
        return sum(row["trial_id"] in self.measured.bad for row in self.groups[index].completed)

    def decided(self, index: int) -> bool:
        """Whether it is shown to be within the margin of the best, as a configuration and not only for its models."""
        sound = not (self.uneven or self.diverged(index) or self.far_off(index))
        return sound and self.basis_of(index) == "seeds" and self.verdict(index) == "within"

    def comparison(self, index: int) -> Comparison:
        basis = self.basis_of(index)
        differs = bool(self.above.lower[index] > 0)
        examples = self.measured.examples
        return Comparison(
            difference=float(self.differences[index]),
            lower=_finite(self.above.lower[index]) if basis != "none" else None,
            upper=_finite(self.above.upper[index]) if basis != "none" else None,
            basis=basis,
            seeds=len(self.measured.by_seed(self.groups[index])),
            examples=examples.count if examples else 0,
            verdict=self.verdict(index),
            different=differs and basis == "seeds" and not self.uneven,
            models_different=differs and basis == "examples",
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def compare(groups: Sequence[Group], measured: Measured, margin: float, confidence: float) -> Compared | None:
    """The comparison of the groups that have the metric; None if none has."""
    kept = tuple(one for one in groups if measured.by_seed(one))
    if not kept:
        return None
    grid = _Grid.of(kept, measured)
    pairs, bases, without_spread = _pairs(grid, measured)
    above = stats.above_best(pairs, len(kept), confidence)
    uneven = _uneven(grid) if "seeds" in bases.values() else {}
    levels, linked = _levels(grid)
    return Compared(kept, levels, linked, pairs, bases, above, measured, margin, uneven, frozenset(without_spread))


@dataclass(frozen=True)
class _Grid:
    """The trials as configurations × seeds: names, log losses, and whether there is a run."""

    trials: tuple[tuple[str | None, ...], ...]
    logs: Floats
    present: noise.Mask

    @classmethod
    def of(cls, groups: Sequence[Group], measured: Measured) -> "_Grid":
        by_seed = [measured.by_seed(one) for one in groups]
        seeds = list(dict.fromkeys(seed for trials in by_seed for seed in trials))
        trials = tuple(tuple(one.get(seed) for seed in seeds) for one in by_seed)
        logs = np.array([[math.log(measured.losses[name]) if name else 0.0 for name in row] for row in trials])
        return cls(trials, logs, np.array([[name is not None for name in row] for row in trials]))

    def examples(self, measured: Measured) -> noise.Examples:
        assert measured.examples
        nothing = np.ones(measured.examples.count)
        sums, weights = (
            np.array([[nothing if name is None else values[name] for name in row] for row in self.trials])
            for values in (measured.examples.sums, measured.examples.weights)
        )
        return noise.Examples(sums, weights)


def _pairs(
    grid: _Grid, measured: Measured
) -> tuple[dict[tuple[int, int], Difference], dict[tuple[int, int], Basis], set[int]]:
    """Each pair's difference, what it covers, and the configurations whose seeds say nothing about training noise."""
    places = zip(*np.triu_indices(len(grid.trials), 1), strict=True)
    bases: dict[tuple[int, int], Basis] = {(int(k), int(j)): "none" for k, j in places}
    pairs: dict[tuple[int, int], Difference] = {}
    still: set[int] = set()
    if measured.examples is None or measured.examples.count < stats.MIN_EXAMPLES:
        return pairs, bases, still
    examples = grid.examples(measured)
    for k, j, found in noise.differences(grid.logs, grid.present, examples, stats.MIN_SEEDS):
        of_seeds = len(found.terms) > 1
        if of_seeds and (stuck := _without_spread(grid, k, j)):
            still |= stuck
            of_seeds = False
        bases[k, j] = "seeds" if of_seeds else "examples"
        pairs[k, j] = found if of_seeds else Difference(found.log_ratio, found.terms[-1:])
    return pairs, bases, still


def _without_spread(grid: _Grid, k: int, j: int) -> set[int]:
    """Members of a pair whose seeds all gave one loss; both, if all seeds gave one and the same nonzero difference."""
    seeds = grid.present[k] & grid.present[j]
    one, other = grid.logs[k, seeds], grid.logs[j, seeds]
    if np.ptp(one - other) <= _SAME < np.abs(one - other).max():
        return {k, j}
    return {index for index, logs in ((k, one), (j, other)) if np.ptp(logs) <= _SAME}


def _uneven(grid: _Grid) -> dict[int, float]:
    enough = grid.present & (grid.present.sum(axis=1) >= stats.MIN_SEEDS)[:, None]
    found, times = noise.uneven(grid.logs, enough, UNEVEN)
    return {index: float(times[index]) for index in range(len(found)) if found[index]}


def _levels(grid: _Grid) -> tuple[Floats, bool]:
    """Each configuration's log loss over all seeds, and whether seeds link them; if not, means over their own seeds."""
    complete = bool(grid.present.all())
    found = None if complete else noise.level(grid.logs, grid.present)
    if found is not None:
        return found, True
    means = np.array([logs[seen].mean() for logs, seen in zip(grid.logs, grid.present, strict=True)])
    return means, complete
