"""Chooses each rank's best value, and corrects the comparison for the choice. Arrays in, arrays out.

A rank's value is chosen on the same held-out examples and seeds on which it is then compared, so the lowest of several
equal ones looks better than it is. If one rank has five equal values to choose from and the best rank has one, bounds that
ignored the choice called a rank at the margin within it in 9 to 12 % of simulated sweeps (tests/test_choice.py).

No examples or seeds are set aside for the choice. Instead, the bounds hold for every configuration that could have been
chosen, so they hold for the chosen one, however it was chosen. A rank's upper bound holds with probability 1 − α if that of
each of the M − 1 configurations that were tried besides the best fails with probability at most α/(M−1); above_best gives
α/(K−1) to each of the K that were chosen, so it is called at confidence 1 − α(K−1)/(M−1). Choosing the lowest value on the
other side of a difference needs no correction: the best tried value has no higher loss than the chosen one. Cross-fitting
over folds of the examples would need the seeds of every value that some fold chooses, and would not account for the choice
by seed 0. With six ranks, thirteen tried configurations and many seeds, a bound is 13 % wider.
"""

import numpy as np
import numpy.typing as npt

from sweep.statistics.stats import CONFIDENCE, Floats

Places = npt.NDArray[np.intp]


def corrected(chosen: int, tried: int, confidence: float = CONFIDENCE) -> float:
    """The confidence at which to compare this many chosen configurations, out of this many that were tried."""
    if chosen < 2 or tried <= chosen:
        return confidence
    return 1 - (1 - confidence) * (chosen - 1) / (tried - 1)


def best_values(losses: Floats) -> Places:
    """Index of each rank's value with the lowest mean loss; if none has a loss, of the first value that was tried.

    Args:
        losses: shape (..., ranks, values, seeds): infinite if a run gave no loss, NaN if there is no run. Values without
            runs are ignored; every rank has a value with a run.
    """
    means = value_means(losses)
    known = np.where(np.isnan(means), np.inf, np.minimum(means, np.finfo(float).max))
    found: Places = known.argmin(axis=-1)
    return found


def value_means(losses: Floats) -> Floats:
    """Each value's mean loss over the seeds that all values of its rank were trained with.

    Values that share no seed have means over their own seeds. Infinite if a run gave no loss, NaN without a run.

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


def select(values: Floats, places: Places) -> Floats:
    """Selects each rank's best value from (..., ranks, values, seeds, examples): (..., ranks, seeds, examples)."""
    return np.take_along_axis(values, places[..., None, None, None], axis=-3)[..., 0, :, :]
