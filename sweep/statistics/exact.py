"""Exact statistics of yes and no: of a share, and of which of two is right more often on the same examples.

Both are about the models that were scored, on other examples of the same kind. They say nothing of other seeds.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from sweep.statistics.stats import CONFIDENCE, Floats


def bounds(share: float, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided bounds on a share that was measured on so many independent units.

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934) 404–413: inverted binomial tails, so neither end fails more often than (1 − confidence)/2. Where a unit
    may be right in part (a mean over seeds, or over a cluster), the number of right ones is rounded away from the bound; such
    units vary less than ones that are right or wrong, so that the interval is wider than it has to be.
    """
    tail, right = (1 - confidence) / 2, share * count
    low, high = math.floor(right + _ROUNDING), math.ceil(right - _ROUNDING)
    lower = float(special.betaincinv(low, count - low + 1, tail)) if low else 0.0
    upper = float(special.betaincinv(high + 1, count - high, 1 - tail)) if high < count else 1.0
    return lower, upper


_ROUNDING = 1e-9  # a share times a count is a whole number but for this


def effective_count(sizes: Sequence[int]) -> int:
    """As how many independent units clusters of these sizes count, in a share of their members; rounded down.

    L. Kish, "Survey Sampling" (1965), 8.2: (Σ n)² / Σ n², which is their number where all are of one size. One with most of the
    members alone makes the share little more than its own.
    """
    squares = sum(size * size for size in sizes)
    return sum(sizes) ** 2 // squares if squares else 0


def sign_test(differences: Floats) -> float:
    """How likely differences this one-sided, or more so, are where either sign is as likely: two-sided, of shape (n,).

    Units on which the two do not differ say nothing. Where each is 0 or ±1 it is McNemar's exact test.
    """
    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    found: float = min(1.0, 2 * float(special.bdtr(min(above, below), above + below, 0.5))) if above + below else 1.0
    return found


def better(one: Floats, other: Floats, alpha: float) -> bool:
    """Whether one is right more often than the other on the same units, beyond chance at `alpha`; both of shape (n,).

    The means decide the direction, the signs whether it is chance.
    """
    differences = np.asarray(one) - np.asarray(other)
    if not differences.size:  # as where two tokenizers leave no example in common
        return False
    return bool(differences.mean() > 0 and (differences > 0).sum() > (differences < 0).sum()) and bool(
        sign_test(differences) <= alpha
    )
