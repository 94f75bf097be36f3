"""Pure statistics of a comparison: bounds above the best, Pareto fronts. Arrays in, arrays out.

Losses are compared as log ratios, so that a margin is relative and a bound and its claim can never disagree. Every
function takes leading batch dimensions, written `...`: the calibration tests pass a thousand sweeps at once. What makes
a difference vary is in noise.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
MIN_SEEDS = 3  # with fewer, a spread over seeds gives no useful interval: t is 12.7 with two
MIN_EXAMPLES = 20  # the fewest for which the calibration tests verify an interval over examples alone


def quantile(tail: float, degrees: Floats | float) -> Floats:
    """The value that Student's t exceeds with probability `tail`."""
    value: Floats = -special.stdtrit(degrees, tail)
    return value


@dataclass(frozen=True)
class Term:
    """An estimated variance of a mean, and its degrees of freedom. Both of shape (...)."""

    variance: Floats
    degrees: Floats


@dataclass(frozen=True)
class Difference:
    """How much higher one configuration's loss is than another's, and what makes it vary.

    Attributes:
        log_ratio: shape (...).
        terms: over seeds and over examples, or over examples alone.
        repeated: the part of the variance over examples that more seeds would reduce.
        own: the term over seeds without pooling over the other configurations.
    """

    log_ratio: Floats
    terms: tuple[Term, ...]
    repeated: Floats | float = 0.0
    own: Term | None = None

    def alone(self) -> "Difference":
        """The same difference as if there were no other configurations."""
        return self if self.own is None else replace(self, terms=(self.own, *self.terms[1:]))

    def half_width(self, tail: float) -> Floats:
        """Distance from the log ratio to a bound that fails with probability `tail` at most.

        √Σ tᵢ²·vᵢ with each term's own t quantile: S. K. Banerjee, "Approximate confidence interval for linear functions
        of means of k populations when the population variances are not equal", Sankhyā 22 (1960) 357–358. It is never
        narrower than the t interval of any one term, and equals it where there is only one.
        """
        squares = [quantile(tail, term.degrees) ** 2 * term.variance for term in self.terms]
        width: Floats = np.sqrt(np.sum(np.stack(np.broadcast_arrays(*squares)), axis=0))
        return width


@dataclass(frozen=True)
class AboveBest:
    """How far each configuration is above the best one, as a fraction of it, without assuming which one that is.

    Attributes:
        lower, upper: shape (..., configurations); −inf clipped to 0, +inf if unknown. Each holds at the
            requested confidence for all configurations simultaneously.
        pair_lower: shape (..., K, K): how far k is above j at least, for all pairs simultaneously; negative if it may be below.
    """

    lower: Floats
    upper: Floats
    pair_lower: Floats

    def different(self) -> npt.NDArray[np.bool_]:
        """Pairs (..., K, K) of which one is claimed to be worse than the other."""
        claimed = self.pair_lower > 0
        either: npt.NDArray[np.bool_] = claimed | np.swapaxes(claimed, -1, -2)
        return either

    def within(self, margin: float) -> npt.NDArray[np.bool_]:
        """Configurations (..., K) shown to be at most the margin above the best."""
        shown: npt.NDArray[np.bool_] = self.upper <= margin
        return shown

    def tied(self, margin: float) -> npt.NDArray[np.bool_]:
        """Pairs (..., K, K) shown to be within the margin of each other, either way."""
        below = self.pair_lower + 1 >= 1 / (1 + margin)
        both: npt.NDArray[np.bool_] = below & np.swapaxes(below, -1, -2)
        return both


def above_best(pairs: Mapping[tuple[int, int], Difference], count: int, confidence: float = CONFIDENCE) -> AboveBest:
    """Bounds on every configuration's distance above the best, from the differences of the pairs (k, j), k < j.

    A configuration is at most u above the best if it is at most u above *each* other one: an intersection of tests, so
    the choice of the best needs no correction and no lucky winner is mistaken for the best (J. C. Hsu, "Simultaneous
    confidence intervals for all distances from the 'best'", Annals of Statistics 9 (1981) 1026–1034). The correction over
    configurations is Bonferroni's: at most K−1 can be above the best, so upper bounds fail with α/(K−1) each; lower bounds
    are claims over all K(K−1) ordered pairs. That far out in the tail, a pooled spread is trusted only if the pair's own
    agrees at α: with one rank's seeds spread eight times as much, four equal ranks were called different in 7 %
    of sweeps without this, in 6 % with it.
    """
    alpha = 1 - confidence
    shape = next(iter(pairs.values())).log_ratio.shape if pairs else ()
    lower = np.full((*shape, count, count), -np.inf)
    upper = np.full((*shape, count, count), np.inf)
    for (k, j), pair in pairs.items():
        narrow = pair.half_width(alpha / (count - 1))
        wide = np.maximum(pair.half_width(alpha / (count * (count - 1))), pair.alone().half_width(alpha / 2))
        lower[..., k, j], lower[..., j, k] = pair.log_ratio - wide, -pair.log_ratio - wide
        upper[..., k, j], upper[..., j, k] = pair.log_ratio + narrow, -pair.log_ratio + narrow
    itself = np.arange(count)
    lower[..., itself, itself] = upper[..., itself, itself] = 0.0
    low, high = lower.max(axis=-1), upper.max(axis=-1)
    return AboveBest(np.expm1(np.maximum(low, 0)), np.expm1(high), np.expm1(lower))


def pareto_front(values: Floats, directions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which rows of (n, metrics) no other row dominates: better in one metric, worse in none. Rows with a NaN never qualify.

    Args:
        values: one row per configuration.
        directions: "min" or "max" for each metric.
    """
    signed = values * np.array([1.0 if direction == "min" else -1.0 for direction in directions])
    known = ~np.isnan(signed).any(axis=1)
    no_worse = (signed[:, None, :] <= signed[None, :, :]).all(axis=2)
    better = (signed[:, None, :] < signed[None, :, :]).any(axis=2)
    beaten = (no_worse & better & known[:, None]).any(axis=0)
    front: npt.NDArray[np.bool_] = known & ~beaten
    return front
