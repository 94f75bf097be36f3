import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sweep import stats
from sweep.stats import Difference, Floats, Term

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
            mean, spread = stats.over_seeds(losses[k], losses[j])
            pairs[k, j] = Difference(mean, (spread,))
    return pairs


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_over_seeds_it_is_the_paired_t(seeds: int) -> None:
    one, other = positive(seeds), positive(seeds)
    mean, spread = stats.over_seeds(one, other)
    expected = scipy_stats.ttest_rel(np.log(one), np.log(other)).confidence_interval(0.95)
    width = Difference(mean, (spread,)).half_width(0.025)
    assert (mean - width, mean + width) == pytest.approx((expected.low, expected.high))


def test_a_second_noise_never_narrows_a_bound() -> None:
    first, second = term(2.0, 2.0), term(3.0, 40.0)
    alone = [Difference(np.array(0), (one,)).half_width(0.05) for one in (first, second)]
    assert Difference(np.array(0), (first, second)).half_width(0.05) == pytest.approx(math.hypot(*alone))


def test_over_examples_it_is_the_variance_of_the_ratio_of_totals() -> None:
    """Against the spread of the log ratio over many draws of the examples."""
    draws, examples = 4000, 400
    tokens = RNG.integers(5, 50, (draws, examples)).astype(float)
    sums = tokens * np.exp(RNG.normal(0, 0.3, (draws, examples)))
    others = sums * np.exp(RNG.normal(0, 0.2, (draws, examples)))
    ratios = np.log(others.sum(-1) / tokens.sum(-1)) - np.log(sums.sum(-1) / tokens.sum(-1))
    found = stats.over_examples(others[:, None], sums[:, None], tokens[:, None], tokens[:, None])
    assert np.mean(found.variance) == pytest.approx(ratios.var(), rel=0.1)


def test_an_example_is_one_draw_however_many_models_it_judges() -> None:
    """The same models twice are no more examples; models that err apart on an example average out."""
    first, second, weights = positive(1, 50), positive(1, 50), np.ones((1, 50))
    once = stats.over_examples(first, second, weights, weights)
    twice = stats.over_examples(*(np.repeat(one, 2, axis=0) for one in (first, second, weights, weights)))
    assert twice.variance == pytest.approx(once.variance)


def test_tokens_count_where_the_texts_differ_in_length() -> None:
    """One model has twice the loss on twice the tokens: per token they are the same, example by example."""
    sums, tokens = positive(1, 50), np.full((1, 50), 10.0)
    tokens[0, ::2] = 30.0
    found = stats.over_examples(sums * 2, sums, tokens * 2, tokens)
    assert found.variance == pytest.approx(0.0, abs=1e-20)


def test_few_heavy_examples_leave_few_degrees_of_freedom() -> None:
    even, heavy = np.ones((1, 100)), np.ones((1, 100))
    heavy[0, :3] = 1e6
    weights = np.ones((1, 100))
    assert stats.over_examples(even, even, weights, weights).degrees == pytest.approx(99)
    assert stats.over_examples(heavy, heavy, weights, weights).degrees == pytest.approx(2, rel=1e-3)


def test_influences_add_up_to_nothing() -> None:
    assert stats.influences(positive(3, 20), positive(3, 20)).sum(axis=-1) == pytest.approx(np.zeros(3), abs=1e-12)


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


def test_a_pair_without_an_interval_bounds_nothing() -> None:
    above = stats.above_best({}, 2)
    assert np.all(np.isinf(above.upper))
    assert not above.different().any()
    assert not above.tied(0.5)[0, 1]


def test_seeds_needed_are_enough_and_no_more() -> None:
    spread, have, margin, tail = 0.004**2, 3, 0.005, 0.05
    pair = Difference(np.array(0.001), (term(spread / have, have - 1),))
    count = stats.seeds_needed(pair, have, margin, tail)
    assert count is not None
    gap = math.log1p(margin) - 0.001

    def width(seeds: int) -> float:
        return float(scipy_stats.t.isf(tail, seeds - 1)) * math.sqrt(spread / seeds)

    assert width(count) <= gap < width(count - 1)


def test_no_number_of_seeds_makes_up_for_too_few_examples() -> None:
    noise = term(0.01, 30)
    pair = Difference(np.array(0.0), (term(1e-9, 2), noise))
    assert stats.seeds_needed(pair, 3, 0.005, 0.05) is None


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


@pytest.mark.parametrize(
    ("costs", "order", "expected"),
    [
        ([{"memory": 3.0, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 1),
        ([{"memory": 3.0, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("time", "memory"), 0),
        ([{"memory": 2.01, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 0),
        ([{"memory": None, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 0),
        ([{"memory": None}, {"memory": None}], ("memory",), 0),
    ],
    ids=["first", "order", "as-good-as-equal", "null-decides-nothing", "nothing-known"],
)
def test_cheapest(costs: list[dict[str, float | None]], order: tuple[str, ...], expected: int) -> None:
    assert stats.cheapest(costs, order) == expected
