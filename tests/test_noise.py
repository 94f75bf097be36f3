from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sweep.statistics import noise
from sweep.statistics.noise import Examples
from sweep.statistics.stats import Difference, Floats
from tests.simulate import Design, losses

RNG = np.random.default_rng(7)


def positive(*shape: int) -> Floats:
    return np.exp(RNG.normal(size=shape))


def between(examples: Examples) -> Difference:
    """The difference of two configurations, over the examples alone."""
    logs = np.log(examples.sums.sum(axis=-1) / examples.weights.sum(axis=-1))
    everywhere = np.ones(logs.shape[-2:], dtype=bool)
    ((_, _, found),) = noise.differences(logs, everywhere, examples, fewest=1000)
    return found


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_over_seeds_it_is_the_paired_t(seeds: int) -> None:
    one, other = np.log(positive(seeds)), np.log(positive(seeds))
    mean = (one - other).mean()
    expected = scipy_stats.ttest_rel(one, other).confidence_interval(0.95)
    width = Difference(mean, (noise.over_seeds(one, other),)).half_width(0.025)
    assert (mean - width, mean + width) == pytest.approx((expected.low, expected.high))


@given(st.integers(2, 6), st.integers(2, 6))
def test_pooled_it_is_the_mean_square_of_rank_by_seed(count: int, seeds: int) -> None:
    logs = RNG.normal(size=(3, count, seeds))
    found = noise.pooled(logs, np.ones((count, seeds), dtype=bool))
    left = logs - logs.mean(axis=-1, keepdims=True) - logs.mean(axis=-2, keepdims=True)
    left += logs.mean(axis=(-2, -1), keepdims=True)
    degrees = (count - 1) * (seeds - 1)
    assert found.degrees == pytest.approx([degrees] * 3)
    assert found.variance == pytest.approx((left**2).sum(axis=(-2, -1)) / degrees)


def test_of_two_configurations_the_pooled_variance_is_their_own() -> None:
    logs = RNG.normal(size=(2, 5))
    found = noise.pooled(logs, np.ones((2, 5), dtype=bool))
    own = noise.over_seeds(logs[0], logs[1])
    assert 2 * found.variance / 5 == pytest.approx(own.variance)
    assert found.degrees == own.degrees


def test_finalists_of_a_race_are_compared_over_all_of_their_seeds() -> None:
    """The first configuration left after one seed: over the seed that all share, the others' further ones would not count."""
    logs, present = RNG.normal(size=(3, 5)), np.ones((3, 5), dtype=bool)
    present[0, 1:] = False
    found = noise.level(logs, present)
    assert found is not None
    assert found[1:] == pytest.approx(logs[1:].mean(axis=1))
    assert found[0] - found[1:].mean() == pytest.approx(logs[0, 0] - logs[1:, 0].mean())


def test_without_a_chain_of_shared_seeds_there_is_no_level_for_all() -> None:
    present = np.array([[True, False, False], [False, True, True]])
    assert noise.level(np.zeros((2, 3)), present) is None


def test_a_run_that_is_not_there_plays_no_part() -> None:
    """What stands in its place does not matter, and a seed of one rank alone has no degree of freedom."""
    logs, present = RNG.normal(size=(3, 4)), np.ones((3, 4), dtype=bool)
    present[:2, 3] = False
    found = noise.pooled(logs, present)
    logs[:2, 3] = 1e6
    assert noise.pooled(logs, present).variance == pytest.approx(found.variance)
    assert found.variance == pytest.approx(noise.pooled(logs[:, :3], present[:, :3]).variance)
    assert found.degrees == 4


def parts(design: Design) -> tuple[Floats, noise.Mask, Examples]:
    sums, tokens = losses(design, 1, np.random.default_rng(3))
    logs = np.log(sums.sum(axis=-1) / tokens.sum(axis=-1)[:, None, None])
    return logs[0], np.ones(logs.shape[1:], dtype=bool), Examples(sums[0], tokens[0])


def test_what_examples_differ_by_seed_counts_once() -> None:
    """Without training noise the spread over seeds is that of examples that differ by seed: next to nothing is left."""
    logs, present, examples = parts(Design((0.0, 0.0), 20, 2000, seed_noise=0, training_noise=0, rest=0.2))
    ((_, _, found),) = noise.differences(logs, present, examples, 3)
    own = noise.over_seeds(logs[0], logs[1]).variance
    assert found.repeated == pytest.approx(own, rel=0.5)
    assert found.terms[0].variance == pytest.approx(max(own - found.repeated, 0), abs=1e-12)
    assert np.all(found.terms[0].variance < 0.5 * own)


def test_training_noise_is_found_among_that_of_examples() -> None:
    """As large as the noise of examples that differ by seed, and taken for all of it before."""
    logs, present, examples = parts(Design((0.0, 0.0), 400, 300, training_noise=0.006, interaction=0.0, rest=0.06))
    ((_, _, found),) = noise.differences(logs, present, examples, 3)
    own = noise.over_seeds(logs[0], logs[1]).variance
    assert own > 1.5 * 2 * 0.006**2 / 400
    assert found.terms[0].variance == pytest.approx(2 * 0.006**2 / 400, rel=0.2)


def test_a_pair_keeps_its_own_spread_where_it_is_the_larger() -> None:
    design = Design((0.0,) * 4, 5, training_noise=0.002, interaction=1e-5, rest=1e-5, spreads=(1.0, 1.0, 1.0, 8.0))
    logs, present, examples = parts(design)
    own = noise.over_seeds(logs[0], logs[3])
    pairs = {(k, j): found for k, j, found in noise.differences(logs, present, examples, 3)}
    assert pairs[0, 3].terms[0].variance == pytest.approx(own.variance - pairs[0, 3].repeated)
    pooled = noise.pooled(logs, present)
    assert pairs[0, 1].terms[0].variance == pytest.approx(2 * pooled.variance / 5 - pairs[0, 1].repeated)


def test_a_spread_is_uneven_against_the_others_together() -> None:
    steps = np.array([-1.0, 0.0, 1.0])
    logs = np.stack([0.001 * steps, 0.001 * steps, 0.0052 * steps])
    found, times = noise.uneven(logs, np.ones((3, 3), dtype=bool), 5.0)
    assert found.tolist() == [False, False, True]
    assert times[2] == pytest.approx(5.2)
    few = np.ones((3, 3), dtype=bool)
    few[2] = False
    assert not noise.uneven(logs, few, 5.0)[0].any()
    few[1] = False
    assert not noise.uneven(logs, few, 5.0)[0].any(), "there are no others"
    assert noise.uneven(np.stack([0 * steps, steps]), few[:2] | True, 5.0)[0].tolist() == [False, True]


# --- examples --------------------------------------------------------------------------------------------------------


def test_over_examples_it_is_the_variance_of_the_ratio_of_totals() -> None:
    """Against the spread of the log ratio over many draws of the examples."""
    draws, examples = 4000, 400
    tokens = RNG.integers(5, 50, (draws, 1, 1, examples)).astype(float)
    first = tokens * np.exp(RNG.normal(0, 0.3, tokens.shape))
    second = first * np.exp(RNG.normal(0, 0.2, tokens.shape))
    found = between(Examples(np.concatenate([second, first], axis=1), tokens))
    assert np.mean(found.terms[0].variance) == pytest.approx(found.log_ratio.var(), rel=0.1)


def test_an_example_is_one_draw_however_many_models_it_judges() -> None:
    """The same models twice are no more examples; models that err apart on an example average out."""
    once = Examples(positive(2, 1, 50), np.ones(50))
    twice = replace(once, sums=np.repeat(once.sums, 2, axis=1))
    assert between(twice).terms[0].variance == pytest.approx(between(once).terms[0].variance)


def test_tokens_count_where_the_texts_differ_in_length() -> None:
    """One model has twice the loss on twice the tokens: per token they are the same, example by example."""
    sums, tokens = positive(1, 50), np.full((1, 50), 10.0)
    tokens[0, ::2] = 30.0
    found = between(Examples(np.stack([sums * 2, sums]), np.stack([tokens * 2, tokens])))
    assert found.terms[0].variance == pytest.approx(0.0, abs=1e-20)


def test_few_heavy_examples_leave_few_degrees_of_freedom() -> None:
    even, heavy = np.ones((2, 1, 100)), np.ones((2, 1, 100))
    heavy[..., :3] = 1e6
    weights = np.ones(100)
    assert between(Examples(even, weights)).terms[0].degrees == pytest.approx(99)
    assert between(Examples(heavy, weights)).terms[0].degrees == pytest.approx(2, rel=1e-3)


def test_influences_add_up_to_nothing() -> None:
    found = Examples(positive(3, 20), positive(3, 20)).influences()
    assert found.sum(axis=-1) == pytest.approx(np.zeros(3), abs=1e-12)
