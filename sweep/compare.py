"""Configurations against each other: over what unit each pair is compared, and how far each is above the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep import stats
from sweep.answer import Basis, Comparison, Verdict
from sweep.groups import Group
from sweep.measured import Examples, Measured
from sweep.stats import AboveBest, Difference, Floats

_STRENGTH: dict[Basis, int] = {"none": 0, "examples": 1, "seeds": 2}


@dataclass(frozen=True)
class Compared:
    """All pairs of the compared configurations.

    Attributes:
        groups: those that have the metric.
        differences: above the lowest measured one, as a fraction, over the seeds that all share if there are any.
        pairs: what is known of each pair (k, j), k < j; pairs without an interval are missing.
        bases: what each pair's interval is over.
    """

    groups: tuple[Group, ...]
    differences: Floats
    pairs: Mapping[tuple[int, int], Difference]
    bases: Mapping[tuple[int, int], Basis]
    above: AboveBest
    measured: Measured
    margin: float

    @property
    def best(self) -> int:
        return int(np.argmin(self.differences))

    @property
    def basis(self) -> Basis:
        """The weakest of all pairs: an answer over all of them is no surer."""
        return min(self.bases.values(), key=_STRENGTH.__getitem__, default="none")

    def basis_of(self, index: int) -> Basis:
        """The weakest of the pairs that a configuration is in."""
        own = [basis for pair, basis in self.bases.items() if index in pair]
        return min(own, key=_STRENGTH.__getitem__, default="none")

    def verdict(self, index: int) -> Verdict:
        """Within the margin of the best or not: as shown, or where no interval exists, as measured."""
        if self.basis_of(index) == "none":
            return "within" if self.differences[index] <= self.margin else "worse"
        if self.above.upper[index] <= self.margin:
            return "within"
        return "worse" if self.above.lower[index] > self.margin else "undecided"

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
            different=differs and basis == "seeds",
            models_different=differs and basis == "examples",
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def compare(groups: Sequence[Group], measured: Measured, margin: float, confidence: float) -> Compared | None:
    """The comparison of the groups that have the metric; None where none has."""
    kept = tuple(one for one in groups if measured.by_seed(one))
    if not kept:
        return None
    pairs: dict[tuple[int, int], Difference] = {}
    bases: dict[tuple[int, int], Basis] = {}
    for k in range(len(kept)):
        for j in range(k + 1, len(kept)):
            found, bases[k, j] = _pair(measured, kept[k], kept[j])
            if found:
                pairs[k, j] = found
    above = stats.above_best(pairs, len(kept), confidence)
    return Compared(kept, _points(kept, measured), pairs, bases, above, measured, margin)


def _points(groups: Sequence[Group], measured: Measured) -> Floats:
    """Each configuration above the lowest, by geometric mean over the seeds that all have, or else over its own."""
    by_seed = [measured.by_seed(one) for one in groups]
    shared = set.intersection(*(set(trials) for trials in by_seed))
    logs = np.array(
        [
            np.mean([math.log(measured.losses[name]) for seed, name in trials.items() if not shared or seed in shared])
            for trials in by_seed
        ]
    )
    points: Floats = np.expm1(logs - logs.min())
    return points


def _pair(measured: Measured, one: Group, other: Group) -> tuple[Difference | None, Basis]:
    first, second = measured.by_seed(one), measured.by_seed(other)
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return None, "none"
    left, right = ([trials[seed] for seed in seeds] for trials in (first, second))
    losses = [np.array([measured.losses[name] for name in names]) for names in (left, right)]
    mean, spread = stats.over_seeds(losses[0], losses[1])
    noise = _example_noise(measured.examples, left, right)
    if len(seeds) >= stats.MIN_SEEDS:
        return Difference(mean, (spread, noise) if noise else (spread,)), "seeds"
    if noise and measured.examples and measured.examples.count >= stats.MIN_EXAMPLES:
        return Difference(mean, (noise,)), "examples"
    return None, "none"


def _example_noise(examples: Examples | None, left: Sequence[str], right: Sequence[str]) -> stats.Term | None:
    if examples is None or examples.count < 2:
        return None
    (sums_a, weights_a), (sums_b, weights_b) = examples.of(left), examples.of(right)
    return stats.over_examples(sums_a, sums_b, weights_a, weights_b)
