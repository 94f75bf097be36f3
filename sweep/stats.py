"""Pure statistics of a comparison: paired differences, bounds above the best, Pareto fronts. Arrays in, arrays out.

Losses are compared as log ratios, so that a margin is relative and a bound and its claim can never disagree. Every
function takes leading batch dimensions, written `...`: the calibration tests pass a thousand sweeps at once.

Two noises, both over what a user will meet again: training noise (another seed) and evaluation noise (other held-out
examples). The seed is the unit where there are three or more. The spread over seeds knows nothing of the examples,
though, because every seed is judged on the same ones: where two ranks differ example by example in a way that training
repeats, a t interval over seeds alone claimed a difference between equal ranks in 26 % of simulated sweeps. So the
variance over examples is added to the variance over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
MIN_SEEDS = 3  # below, a spread over seeds has no useful interval: t is 12.7 with two
MIN_EXAMPLES = 20  # the fewest for which the calibration tests hold an interval over examples alone


def quantile(tail: float, degrees: Floats | float) -> Floats:
    """Student's t that is exceeded with probability `tail`."""
    value: Floats = -special.stdtrit(degrees, tail)
    return value


@dataclass(frozen=True)
class Term:
    """An estimated variance of a mean, and its degrees of freedom. Both of shape (...)."""

    variance: Floats
    degrees: Floats


@dataclass(frozen=True)
class Difference:
    """How much higher one configuration's loss is than another's: a log ratio of shape (...), and what makes it vary."""

    log_ratio: Floats
    terms: tuple[Term, ...]

    def half_width(self, tail: float) -> Floats:
        """Distance from the log ratio to a bound that fails with probability `tail` at most.

        √Σ tᵢ²·vᵢ with each term's own t quantile: S. K. Banerjee, "Approximate confidence interval for linear functions
        of means of k populations when the population variances are not equal", Sankhyā 22 (1960) 357–358. It is never
        narrower than the t interval of any one term, and equals it where there is only one.
        """
        squares = [quantile(tail, term.degrees) ** 2 * term.variance for term in self.terms]
        width: Floats = np.sqrt(np.sum(np.stack(np.broadcast_arrays(*squares)), axis=0))
        return width


def over_seeds(losses_a: Floats, losses_b: Floats) -> tuple[Floats, Term]:
    """Mean log ratio and its variance, from losses of shape (..., seeds), paired by seed: the paired t's."""
    ratios = np.log(losses_a) - np.log(losses_b)
    seeds = ratios.shape[-1]
    mean = ratios.mean(axis=-1)
    if seeds < 2:
        return mean, Term(np.full_like(mean, np.inf), np.ones_like(mean))
    return mean, Term(ratios.var(axis=-1, ddof=1) / seeds, np.full_like(mean, seeds - 1))


def influences(sums: Floats, weights: Floats) -> Floats:
    """Each example's pull on log(Σsums / Σweights): shape (..., examples) in and out; they add up to 0.

    A held-out loss is a ratio of totals, loss over tokens, so long examples weigh more than short ones.
    """
    shares: Floats = sums / sums.sum(axis=-1, keepdims=True) - weights / weights.sum(axis=-1, keepdims=True)
    return shares


def over_examples(sums_a: Floats, sums_b: Floats, weights_a: Floats, weights_b: Floats) -> Term:
    """Variance of the log ratio over the draw of held-out examples, the trained models kept as they are.

    All of shape (..., seeds, examples): summed losses, and the tokens or bytes they are divided by. Influences are
    averaged over the seeds first: an example is one draw, however many models it judges.

    The linearised variance (W. G. Cochran, Sampling Techniques, 3rd ed., §6.3) is corrected as HC2 for each example's
    leverage, here its share of the loss, and takes the degrees of freedom that noise in proportion to an example's
    loss leaves (R. M. Bell and D. F. McCaffrey, Survey Methodology 28 (2002) 169–181). Under heavy tails a handful of
    examples carries the loss; with N−1 degrees, 10 to 20 % of equal pairs were called different at 20 examples.
    """
    pull = (influences(sums_a, weights_a) - influences(sums_b, weights_b)).mean(axis=-2)
    shares = [sums / sums.sum(axis=-1, keepdims=True) for sums in (sums_a, sums_b)]
    leverage = np.minimum(((shares[0] + shares[1]) / 2).mean(axis=-2), 1 - 1e-9)
    variance = (pull**2 / (1 - leverage)).sum(axis=-1)
    squares = leverage**2
    degrees = squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1) - 1
    return Term(variance, np.clip(degrees, 1, max(1, pull.shape[-1] - 1)))


@dataclass(frozen=True)
class AboveBest:
    """How far each configuration is above the best one, as a fraction of it. Whichever that is: none is taken as given.

    Attributes:
        lower, upper: shape (..., configurations); −inf clipped to 0, +inf where nothing is known. Each holds, at the
            confidence asked for, for all configurations together.
        pair_lower: shape (..., K, K): how far k is at least above j, for all pairs together; negative where it may be below.
    """

    lower: Floats
    upper: Floats
    pair_lower: Floats

    def different(self) -> npt.NDArray[np.bool_]:
        """Pairs (..., K, K) of which one is claimed to be worse than the other."""
        claimed = self.pair_lower > 0
        either: npt.NDArray[np.bool_] = claimed | np.swapaxes(claimed, -1, -2)
        return either

    def tied(self, margin: float) -> npt.NDArray[np.bool_]:
        """Pairs (..., K, K) shown to be within the margin of each other, either way."""
        below = self.pair_lower + 1 >= 1 / (1 + margin)
        both: npt.NDArray[np.bool_] = below & np.swapaxes(below, -1, -2)
        return both


def above_best(pairs: Mapping[tuple[int, int], Difference], count: int, confidence: float = CONFIDENCE) -> AboveBest:
    """Bounds on every configuration's distance above the best, from the differences of the pairs (k, j), k < j.

    A configuration is at most u above the best if it is at most u above *each* other one: an intersection of tests, so
    the choice of the best costs nothing and no lucky winner is mistaken for the best (J. C. Hsu, "Simultaneous
    confidence intervals for all distances from the 'best'", Annals of Statistics 9 (1981) 1026–1034). Over the
    configurations Bonferroni: at most K−1 can be above the best, so upper bounds fail with α/(K−1) each; lower bounds
    are claims over all K(K−1) ordered pairs.
    """
    alpha = 1 - confidence
    shape = next(iter(pairs.values())).log_ratio.shape if pairs else ()
    lower = np.full((*shape, count, count), -np.inf)
    upper = np.full((*shape, count, count), np.inf)
    for (k, j), pair in pairs.items():
        wide, narrow = pair.half_width(alpha / (count * (count - 1))), pair.half_width(alpha / (count - 1))
        lower[..., k, j], lower[..., j, k] = pair.log_ratio - wide, -pair.log_ratio - wide
        upper[..., k, j], upper[..., j, k] = pair.log_ratio + narrow, -pair.log_ratio + narrow
    itself = np.arange(count)
    lower[..., itself, itself] = upper[..., itself, itself] = 0.0
    low, high = lower.max(axis=-1), upper.max(axis=-1)
    return AboveBest(np.expm1(np.maximum(low, 0)), np.expm1(high), np.expm1(lower))


def seeds_needed(pair: Difference, seeds: int, margin: float, tail: float, most: int = 30) -> int | None:
    """How many seeds would place the difference on one side of the margin, if it and its spread stay as measured.

    None where `most` would not do, be it that the difference is at the margin or that too few examples are held out.
    """
    gap = abs(float(pair.log_ratio) - float(np.log1p(margin)))
    spread = float(pair.terms[0].variance) * seeds
    examples = Difference(pair.log_ratio, pair.terms[1:]).half_width(tail) if pair.terms[1:] else 0.0
    for count in range(max(seeds + 1, MIN_SEEDS), most + 1):
        if float(quantile(tail, count - 1)) ** 2 * spread / count + float(examples) ** 2 <= gap**2:
            return count
    return None


def pareto_front(values: Floats, directions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which rows of (n, metrics) no other row beats: better somewhere, worse nowhere. Rows with a NaN are in no front.

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


def cheapest(costs: Sequence[Mapping[str, float | None]], order: Sequence[str], tolerance: float = 0.01) -> int:
    """Index of the cheapest: the first cost decides, the next among those within `tolerance` of its least, and so on.

    A cost that is null for any of those left decides nothing.
    """
    left = list(range(len(costs)))
    for name in order:
        values = [cost for index in left if (cost := costs[index].get(name)) is not None]
        if len(values) == len(left):
            left = [index for index, value in zip(left, values, strict=True) if value <= min(values) * (1 + tolerance)]
    return left[0]
