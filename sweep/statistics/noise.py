"""What makes a measured difference vary: training noise (another seed) and evaluation noise (other held-out examples).

Arrays in, arrays out. Every function takes leading batch dimensions, written `...`: the calibration tests pass a thousand
sweeps at once.

With three or more seeds, the seed is the unit. The spread over seeds does not include that of examples, though, because
every seed is evaluated on the same ones: if two ranks differ from example to example in a way that every training run
repeats, a t interval over seeds alone claimed a difference between equal ranks in 26 % of simulated sweeps. So the variance
over examples is added to the variance over seeds.

With three seeds, a pair's own variance has 2 degrees of freedom and a t of 4 to 8. So it is pooled: the residuals of all
losses after subtracting each configuration's and each seed's mean have (K−1)(n−1). A pair's seeds may spread more than the
others', so the larger of the two variances counts, minus what the term over examples already covers. The two steps only work
together: with four ranks, three seeds and 0.2 % noise per training run, the right pick is made in 0.50 of simulated sweeps
instead of 0.25; the subtraction alone makes too many false claims with more than two ranks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweep.statistics.stats import Difference, Floats, Term

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Loss on each held-out unit, an example or a cluster of examples, and its weight.

    Attributes:
        sums: summed losses, shape (..., configurations, seeds, units); arbitrary where there is no run.
        weights: tokens or bytes, of a shape that broadcasts to that of `sums`.
    """

    sums: Floats
    weights: Floats

    def shares(self) -> Floats:
        found: Floats = self.sums / self.sums.sum(axis=-1, keepdims=True)
        return found

    def influences(self) -> Floats:
        """Each unit's influence on log(Σsums / Σweights); influences add up to 0.

        A held-out loss is a ratio of totals, loss over tokens, so long examples weigh more than short ones.
        """
        found: Floats = self.shares() - self.weights / self.weights.sum(axis=-1, keepdims=True)
        return found


def over_seeds(logs_a: Floats, logs_b: Floats) -> Term:
    """Variance of the mean log ratio over seeds, from log losses of shape (..., seeds ≥ 2), paired by seed: the paired t's."""
    seeds = logs_a.shape[-1]
    variance = (logs_a - logs_b).var(axis=-1, ddof=1) / seeds
    return Term(variance, np.full_like(variance, seeds - 1))


def pooled(logs: Floats, present: Mask) -> Term:
    """Variance of one run's log loss around its configuration's and its seed's effects: the mean square of the interaction.

    Args:
        logs: shape (..., configurations, seeds).
        present: shape (configurations, seeds): where there is a run; the effects are fitted to those runs by least squares.
    """
    effects = _effects(present)
    runs = np.moveaxis(logs[..., present], -1, 0)
    flat = runs.reshape(len(effects), -1)
    fit, _, rank, _ = np.linalg.lstsq(effects, flat, rcond=None)
    squares = ((flat - effects @ fit) ** 2).sum(axis=0).reshape(runs.shape[1:])
    degrees = len(effects) - int(rank)
    return Term(squares / max(degrees, 1), np.full_like(squares, degrees))


def level(logs: Floats, present: Mask) -> Floats | None:
    """Each configuration's log loss over all seeds, as if it had been trained with every one of them.

    For missing runs, the effect of the seed is estimated from the other configurations: configuration and seed effects are
    fitted to the existing runs by least squares. A race leaves most configurations with fewer seeds than the finalists; using
    only the seeds that all share would waste the finalists' other seeds.

    Args:
        logs: shape (configurations, seeds).
        present: where there is a run; every configuration and every seed has one.

    Returns:
        Shape (configurations,); None if no chain of shared seeds connects some configuration to another.
    """
    effects = _effects(present)
    fit, _, rank, _ = np.linalg.lstsq(effects, logs[present], rcond=None)
    configurations, seeds = present.shape
    if rank < configurations + seeds - 1:
        return None
    found: Floats = fit[:configurations] + fit[configurations:].mean()
    return found


def _effects(present: Mask) -> Floats:
    """The design matrix: a row for each run, a column for each configuration, then a column for each seed."""
    places = np.indices(present.shape)
    columns = [places[axis][present][:, None] == np.arange(present.shape[axis]) for axis in (0, 1)]
    found: Floats = np.concatenate(columns, axis=1).astype(float)
    return found


def over_examples(pull: Floats, leverage: Floats) -> Term:
    """Variance of a log ratio over the sampling of held-out examples, given the trained models.

    The linearized variance (W. G. Cochran, Sampling Techniques, 3rd ed., §6.3) is corrected as HC2 for each example's
    leverage, here its share of the loss, and takes the degrees of freedom that noise in proportion to an example's
    loss leaves (R. M. Bell and D. F. McCaffrey, Survey Methodology 28 (2002) 169–181). With heavy tails, a handful of
    examples dominates the loss; with N−1 degrees, 10 to 20 % of equal pairs were called different at 20 examples.

    Args:
        pull: each example's influence on the log ratio, shape (..., examples), averaged over the seeds: an example is one
            draw, however many models are evaluated on it.
        leverage: its share of the loss, same shape.
    """
    leverage = np.minimum(leverage, 1 - 1e-9)
    variance = (pull**2 / (1 - leverage)).sum(axis=-1)
    squares = leverage**2
    degrees = squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1) - 1
    return Term(variance, np.clip(degrees, 1, max(1, pull.shape[-1] - 1)))


def differences(logs: Floats, present: Mask, examples: Examples, fewest: int) -> Iterator[tuple[int, int, Difference]]:
    """The difference of each pair (k, j), k < j, that shares a seed. With fewer than `fewest`, only the term over examples is used.

    Args:
        logs: log losses, shape (..., configurations, seeds).
        present: where there is a run, shape (configurations, seeds).
    """
    between = pooled(logs, present)
    shares, influences = examples.shares(), examples.influences()
    for k, j in zip(*np.triu_indices(len(present), 1), strict=True):
        seeds = present[k] & present[j]
        count = int(seeds.sum())
        if not count:
            continue
        mean = (logs[..., k, seeds] - logs[..., j, seeds]).mean(axis=-1)
        pulls = influences[..., k, seeds, :] - influences[..., j, seeds, :]
        leverage = (shares[..., k, seeds, :] + shares[..., j, seeds, :]).mean(axis=-2) / 2
        drawn = over_examples(pulls.mean(axis=-2), leverage)
        if count < fewest:
            yield int(k), int(j), Difference(mean, (drawn,))
            continue
        repeated = pulls.var(axis=-2, ddof=1).sum(axis=-1) / count
        own = over_seeds(logs[..., k, seeds], logs[..., j, seeds])
        larger = np.maximum(own.variance, 2 * between.variance / count)
        trained, alone = (
            Term(np.maximum(variance - repeated, 0), degrees)
            for variance, degrees in ((larger, between.degrees), (own.variance, own.degrees))
        )
        yield int(k), int(j), Difference(mean, (trained, drawn), repeated, alone)


def uneven(logs: Floats, present: Mask, times: float) -> tuple[Mask, Floats]:
    """Whether each configuration's spread over seeds is more than `times` the others' pooled spread, and the ratio.

    Both have shape (..., configurations). Pooling needs similar spreads: with one rank at eight to ten times the others',
    pooled bounds alone called equal ranks different in 6 to 8 % of sweeps with three seeds.
    """
    spreads = np.stack(
        [
            logs[..., k, seen].var(axis=-1, ddof=1) if seen.sum() > 1 else np.full(logs.shape[:-2], np.nan)
            for k, seen in enumerate(present)
        ],
        axis=-1,
    )
    known = ~np.isnan(spreads)
    with np.errstate(divide="ignore", invalid="ignore"):
        others = (np.nansum(spreads, axis=-1, keepdims=True) - spreads) / (known.sum(axis=-1, keepdims=True) - 1)
        ratio = np.sqrt(np.maximum(spreads, 0) / np.maximum(others, 0))
    return ratio > times, ratio
