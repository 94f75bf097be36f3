import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.statistics import noise, stats
from sweep.statistics.stats import Difference, Floats, Term

RNG = np.random.default_rng(7)


def positive(*shape: int) -> Floats:
    return np.exp(RNG.normal(size=shape))


def term(variance: float, degrees: float) -> Term:
    return Term(np.array(variance), np.array(degrees))


def seed_only(losses: Floats) -> dict[tuple[int, int], Difference]:
    """All pairs of losses (configurations, seeds), by seed."""
    pairs = {}
    for k in range(len(losses)):
        for j in range(k + 1, len(losses)):
            logs = np.log(losses[[k, j]])
            pairs[k, j] = Difference((logs[0] - logs[1]).mean(), (noise.over_seeds(*logs),))
    return pairs


def test_a_second_noise_never_narrows_a_bound() -> None:
    first, second = term(2.0, 2.0), term(3.0, 40.0)
    alone = [Difference(np.array(0), (one,)).half_width(0.05) for one in (first, second)]
    assert Difference(np.array(0), (first, second)).half_width(0.05) == pytest.approx(math.hypot(*alone))


@given(st.lists(st.lists(st.floats(0.5, 2.0), min_size=4, max_size=4), min_size=2, max_size=5))
def test_bounds_enclose_the_measured_distance(rows: list[list[float]]) -> None:
    losses = np.array(rows)
    above = stats.above_best(seed_only(losses), len(rows))
    logs = np.log(losses).mean(axis=1)
    measured = np.expm1(logs - logs.min())
    assert np.all(above.lower <= measured + 1e-9)
    assert np.all(above.upper >= measured - 1e-9)


def test_the_same_numbers_twice_are_tied_exactly() -> None:
    losses = np.stack([positive(4)] * 2)
    above = stats.above_best(seed_only(losses), 2)
    assert above.upper == pytest.approx(np.zeros(2))
    assert above.tied(0.0).all()
    assert not above.different().any()


def test_a_bound_is_against_every_other_and_not_against_the_lowest() -> None:
    """The lowest one is as noisy as it is low: the upper bound of the second comes from the pair that knows least."""
    known, loose = term(1e-8, 50), term(0.01, 50)
    pairs = {
        (0, 1): Difference(np.array(0.001), (known,)),
        (0, 2): Difference(np.array(0.002), (loose,)),
        (1, 2): Difference(np.array(0.001), (loose,)),
    }
    above = stats.above_best(pairs, 3)
    assert above.upper[0] > 0.1


def test_more_configurations_widen_the_bounds() -> None:
    losses = positive(2, 5)
    two = stats.above_best(seed_only(losses), 2)
    five = stats.above_best(seed_only(losses), 5)
    assert np.all(five.pair_lower[0, 1] < two.pair_lower[0, 1])


def test_a_difference_is_claimed_only_where_the_pair_alone_agrees() -> None:
    """The pooled spread is small; the pair's own is larger, or has too few seeds to say so."""
    known = Difference(np.array(0.01), (term(1e-6, 50),))
    doubtful = Difference(np.array(0.01), known.terms, own=term(1e-5, 2))
    one, other = (stats.above_best({(0, 1): pair}, 2) for pair in (known, doubtful))
    assert one.different().any() and not other.different().any()
    assert other.upper == pytest.approx(one.upper)


def test_a_pair_without_an_interval_bounds_nothing() -> None:
    above = stats.above_best({}, 2)
    assert np.all(np.isinf(above.upper))
    assert not above.different().any()
    assert not above.tied(0.5)[0, 1]


POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_a_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    front = stats.pareto_front(np.array(points, dtype=float), ("min", "max"))
    for index, (cost, gain) in enumerate(points):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        assert front[index] == (not beaten)


def test_what_was_not_measured_is_on_no_front_and_beats_nothing() -> None:
    values = np.array([[1.0, np.nan], [2.0, 2.0]])
    assert stats.pareto_front(values, ("min", "min")).tolist() == [False, True]
