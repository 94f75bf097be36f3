"""Choosing each rank's value does not flatter it: the claims hold their level with the choice simulated as well."""

from dataclasses import replace
from functools import cache
from itertools import product
from math import log1p

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats as scipy_stats

from sweep.statistics.choice import best_values, corrected, select
from sweep.statistics.stats import CONFIDENCE
from tests.simulate import Design, Estimates, losses

SWEEPS, LEVEL, MARGIN = 1000, 0.05, 0.005
ALLOWED = int(scipy_stats.binom.isf(0.01, SWEEPS, LEVEL))
TRAINED = Design((), 3, 100, training_noise=0.002, interaction=0.0025, rest=0.0025)
REGIMES = {
    "training-noise": TRAINED,
    "training-noise-10-seeds": replace(TRAINED, seeds=10),
    "heavy-tails": replace(TRAINED, heavy=True),
    "examples": Design((), 10, 100, seed_noise=0.001, training_noise=0.0003, interaction=0.03, rest=0.01),
}


@cache
def false_claims(design: Design, tried: tuple[int, ...]) -> dict[tuple[int | None, bool, bool], int]:
    """Numbers of sweeps with a false claim, of ranks with `tried` equal values each to choose from.

    Returns:
        By the number of first seeds that choose (None: all), by whether all ranks are equal (then a claim that two differ is
        false) or all but the first are at the margin (then a claim that any of these is within it is), and by whether the
        bounds are corrected for the choice. All are from the same noise: which value is the best does not depend on its
        rank's effect.
    """
    values, ranks = max(tried), len(tried)
    there = np.arange(values) < np.array(tried)[:, None]
    design = replace(design, effects=(0.0,) * (ranks * values))
    rng, most = np.random.default_rng(5), max(1, int(3e6 / (ranks * values * design.seeds * design.examples)))
    found = dict.fromkeys(product((1, None), (True, False), (True, False)), 0)
    for start in range(0, SWEEPS, most):
        sums, tokens = losses(design, min(most, SWEEPS - start), rng)
        grid = sums.reshape(len(sums), ranks, values, *sums.shape[2:])
        means = np.where(there[..., None], grid.sum(axis=-1), np.nan)
        for by_seeds in (1, None):
            estimates = Estimates.of(select(grid, best_values(means[..., :by_seeds])), tokens)
            for equal, correct in product((True, False), (True, False)):
                false = _claimed(estimates, equal, corrected(ranks, sum(tried)) if correct else CONFIDENCE)
                found[by_seeds, equal, correct] += int(false.sum())
    return found


def _claimed(estimates: Estimates, equal: bool, confidence: float) -> npt.NDArray[np.bool_]:
    """Sweeps with a false claim."""
    bounds = estimates.bounds((0.0, *(0.0 if equal else log1p(MARGIN),) * (estimates.count - 1)), confidence)
    if equal:
        return np.asarray(bounds.different().any(axis=(1, 2)))
    return np.asarray(bounds.decided(MARGIN)[:, 1:].any(axis=1))


@pytest.mark.parametrize("by_seeds", [1, None], ids=["first-seed-chooses", "all-seeds-choose"])
@pytest.mark.parametrize("tried", [(1, 5), (5, 5), (1, 2, 5)], ids=str)
@pytest.mark.parametrize("design", REGIMES.values(), ids=REGIMES)
def test_a_chosen_value_makes_no_claim_more_often_false(
    design: Design, tried: tuple[int, ...], by_seeds: int | None
) -> None:
    found = false_claims(design, tried)
    assert found[by_seeds, False, True] <= ALLOWED
    assert found[by_seeds, True, True] <= ALLOWED


@pytest.mark.parametrize("regime", ["training-noise", "training-noise-10-seeds", "examples"])
def test_bounds_that_know_nothing_of_the_choice_are_noticed(regime: str) -> None:
    assert false_claims(REGIMES[regime], (1, 5))[None, False, False] > ALLOWED


def test_the_confidence_gives_each_tried_configuration_its_share() -> None:
    assert corrected(6, 6) == CONFIDENCE == corrected(1, 5) == corrected(6, 0)
    assert (1 - corrected(6, 13)) / 5 == pytest.approx(0.05 / 12)


def test_the_best_value_is_chosen_on_the_seeds_that_all_of_its_rank_share() -> None:
    nan, inf = float("nan"), float("inf")
    ranks = [
        [[1.0, 1.0, 1.0], [0.9, nan, nan], [nan, nan, nan]],  # the second is better on the seed that both have
        [[1.0, 1.0, 1.0], [inf, nan, nan], [1.1, nan, nan]],  # one that diverged is never chosen
        [[1.0, 3.0, nan], [1.5, 1.5, 0.1], [nan, nan, nan]],
        [[nan, nan, nan], [1.0, nan, nan], [nan, 0.9, 0.9]],  # no seed in common: each over its own
        [[nan, nan, nan], [inf, inf, nan], [inf, nan, nan]],  # none has a loss
    ]
    assert best_values(np.array(ranks)).tolist() == [1, 0, 1, 2, 1]


def test_what_is_taken_is_each_ranks_at_its_place() -> None:
    values = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    found = select(values, np.array([2, 0]))
    assert found.shape == (2, 4, 5)
    assert (found[0] == values[0, 2]).all() and (found[1] == values[1, 0]).all()
