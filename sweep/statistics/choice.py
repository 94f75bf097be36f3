"""Each rank at its best value, so that the choice does not flatter it. Arrays in, arrays out.

A rank's value is chosen by held-out examples and seeds that then judge it, so the lowest of several equal ones looks
better than it is: where one rank has five equal values to choose from and the best rank has one, bounds that know nothing
of the choice called a rank at the margin within it in 9 to 12 % of simulated sweeps (tests/test_choice.py).

No example and no seed is set aside for that. The bounds are made to hold for every configuration that could have been
chosen, so they hold for the one that was, however it was. A rank's upper bound holds with probability 1 − α if that of
each of the M − 1 configurations that were tried beside the best fails with α/(M−1) at most; above_best gives α/(K−1) to
the K that were chosen, so it is asked at 1 − α(K−1)/(M−1). Taking the lowest value on the other side of a difference
needs no correction: the best that was tried has no higher loss than the one that was taken. Cross-fitting over
folds of the examples would need the seeds of every value that some fold chooses, and would not see that seed 0 chose.
With six ranks, thirteen tried configurations and many seeds a bound is 13 % wider.
"""

import numpy as np
import numpy.typing as npt

from sweep.statistics.stats import CONFIDENCE, Floats

Places = npt.NDArray[np.intp]


def corrected(chosen: int, tried: int, confidence: float = CONFIDENCE) -> float:
    """The confidence at which to compare so many chosen configurations, of so many that were tried."""
    if chosen < 2 or tried <= chosen:
        return confidence
    return 1 - (1 - confidence) * (chosen - 1) / (tried - 1)


def best_values(losses: Floats) -> Places:
    """The place of each rank's value with the lowest mean loss; where none has a loss, of the first that was tried.

    Args:
        losses: shape (..., ranks, values, seeds): infinite where a run gave none, NaN where there is no run. A value without
            any run is none; every rank has a value with a run.
    """
    means = value_means(losses)
    known = np.where(np.isnan(means), np.inf, np.minimum(means, np.finfo(float).max))
    found: Places = known.argmin(axis=-1)
    return found


def value_means(losses: Floats) -> Floats:
    """Each value's mean loss, as its rank's values compare: over the seeds that all of them were trained with.

    Values that share no seed have the means over their own ones. Infinite where a run gave no loss, NaN without a run.

    Args:
        losses: shape (..., ranks, values, seeds), as for `best_values`.
    """
    ran = ~np.isnan(losses)
    tried = np.asarray(ran.any(axis=-1))
    shared = (ran | ~tried[..., None]).all(axis=-2, keepdims=True)
    counted = ran & (shared | ~shared.any(axis=-1, keepdims=True))
    sums = np.where(counted, losses, 0.0).sum(axis=-1)
    means: Floats = np.where(tried, sums / np.maximum(counted.sum(axis=-1), 1), np.nan)
    return means


def taken(values: Floats, places: Places) -> Floats:
    """Of an array (..., ranks, values, seeds, examples) each rank's at its best value: (..., ranks, seeds, examples)."""
    return np.take_along_axis(values, places[..., None, None, None], axis=-3)[..., 0, :, :]
