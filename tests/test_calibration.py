"""The claims hold their level: at most 5 % of simulated sweeps get a wrong one, in every regime that prints a bound."""

from math import log1p
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweep import analysis
from sweep.compare import Compared
from sweep.store import Store
from tests.simulate import Design, compared, losses, write

SWEEPS, LEVEL, MARGIN = 1000, 0.05, 0.005
ALLOWED = int(stats.binom.isf(0.01, SWEEPS, LEVEL))  # what a level of exactly 5 % stays below in 99 of 100 tests

# The trained models are what is compared where the examples are the unit: they are as they are, without training noise.
REGIMES = [
    pytest.param(seeds, configurations, noise, id=f"{seeds}-seeds-{configurations}-configurations")
    for seeds, noise in ((1, 0.0), (2, 0.0), (3, 0.003), (5, 0.003), (10, 0.003))
    for configurations in (2, 4)
]


def sweeps(effects: tuple[float, ...], seeds: int, noise: float, **further: float) -> list[Compared]:
    rng = np.random.default_rng([seeds, len(effects)])
    sums, tokens = losses(
        Design(effects, seeds, training_noise=noise, seed_noise=noise, **further),  # type: ignore[arg-type]
        SWEEPS,
        rng,
    )
    return [compared(sums[index], tokens[index], MARGIN) for index in range(SWEEPS)]


def claims_difference(one: Compared) -> bool:
    found = [one.comparison(index) for index in range(len(one.groups))]
    return any(each.different or each.models_different for each in found)


@pytest.mark.parametrize(("seeds", "configurations", "noise"), REGIMES)
def test_equal_ranks_are_rarely_called_different(seeds: int, configurations: int, noise: float) -> None:
    found = sweeps((0.0,) * configurations, seeds, noise)
    assert all(one.basis == ("seeds" if seeds >= 3 else "examples") for one in found)
    assert sum(claims_difference(one) for one in found) <= ALLOWED


@pytest.mark.parametrize(("seeds", "configurations", "noise"), REGIMES)
def test_a_rank_at_the_margin_is_rarely_called_non_inferior(seeds: int, configurations: int, noise: float) -> None:
    found = sweeps((0.0, *(log1p(MARGIN),) * (configurations - 1)), seeds, noise)
    wrong = sum(any(one.verdict(index) == "within" for index in range(1, configurations)) for one in found)
    assert wrong <= ALLOWED


def test_all_ranks_at_the_margin_together_are_rarely_called_non_inferior() -> None:
    """With little noise the ranks at the margin are no obstacle to each other: only the correction for their number helps."""
    found = sweeps((0.0, *(log1p(MARGIN),) * 5), 5, 0.0003, examples=50, interaction=0.001, rest=0.001)
    wrong = sum(any(one.verdict(index) == "within" for index in range(1, 6)) for one in found)
    assert wrong <= ALLOWED


@pytest.mark.parametrize("configurations", [2, 4])
def test_the_fewest_examples_for_a_bound_are_enough(configurations: int) -> None:
    found = sweeps((0.0,) * configurations, 1, 0.0, examples=20)
    assert all(one.basis == "examples" for one in found)
    assert sum(claims_difference(one) for one in found) <= ALLOWED


def test_examples_that_prefer_a_rank_under_every_seed_do_not_fool_it() -> None:
    """Nearly all of the noise is the rank's on the example: a t interval over the seeds alone fails here."""
    found = sweeps((0.0, 0.0), 5, 0.0005, rest=0.001)
    seeds_alone = sum(bool(np.abs(one.pairs[0, 1].log_ratio) > _seed_width(one)) for one in found)
    assert seeds_alone > 10 * LEVEL * SWEEPS
    assert sum(claims_difference(one) for one in found) <= ALLOWED


def _seed_width(one: Compared) -> float:
    spread = one.pairs[0, 1].terms[0]
    return float(stats.t.isf(LEVEL / 2, spread.degrees) * np.sqrt(spread.variance))


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_claim_nothing_about_ranks_whatever_the_training_noise(seeds: int) -> None:
    found = sweeps((0.0, 0.0), seeds, 0.02, interaction=0.001, rest=0.001)
    assert any(one.comparison(0).models_different or one.comparison(1).models_different for one in found)
    assert not any(one.comparison(index).different for one in found for index in (0, 1))


def test_a_large_difference_is_seen() -> None:
    found = sweeps((0.0, log1p(0.05)), 5, 0.003, interaction=0.01, rest=0.01)
    assert sum(one.verdict(1) == "worse" for one in found) > 0.95 * SWEEPS


def test_files_give_the_answer_that_arrays_do(tmp_path: Path) -> None:
    sums, tokens = losses(Design((0.0, 0.004, 0.02), seeds=3), 3, np.random.default_rng(4))
    for index in range(3):
        store = Store(str(tmp_path / str(index)))
        write(store, sums[index], tokens[index])
        found = analysis.answer(analysis.load(store.location), margin=MARGIN)
        arrays = compared(sums[index], tokens[index], MARGIN)
        for place, one in enumerate(found.configurations):
            assert one.comparison
            expected = arrays.comparison(place)
            assert one.comparison.verdict == expected.verdict
            assert one.comparison.upper == pytest.approx(expected.upper, rel=1e-9)
