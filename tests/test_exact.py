"""Exact statistics of yes and no: known values, and that they fail no more often than they say."""

import numpy as np
import pytest

from sweep.statistics import exact


@pytest.mark.parametrize(
    ("right", "count", "lower", "upper"),
    [
        (0, 10, 0.0, 0.3085),  # 1 − 0.025^(1/10)
        (10, 10, 0.6915, 1.0),
        (8, 10, 0.4439, 0.9748),
        (1, 20, 0.0013, 0.2487),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_bounds_are_clopper_and_pearsons(right: int, count: int, lower: float, upper: float) -> None:
    """The values of R's binom.test."""
    assert exact.bounds(right / count, count) == pytest.approx((lower, upper), abs=5e-5)


def test_right_in_part_is_rounded_away_from_the_bound() -> None:
    low, high = exact.bounds(0.45, 10)
    assert low == exact.bounds(0.4, 10)[0] and high == exact.bounds(0.5, 10)[1]
    assert exact.bounds(0.1 + 0.2, 10) == exact.bounds(0.3, 10), "0.1 + 0.2 is a little more than 0.3"


def test_clusters_of_one_size_count_as_so_many_and_one_with_most_of_the_members_as_little_more_than_itself() -> None:
    assert [exact.effective_count(sizes) for sizes in ([1] * 20, [3] * 20, [80, *[1] * 20], [])] == [20, 20, 1, 0]


def test_bounds_of_clusters_that_are_right_or_wrong_as_a_whole_fail_no_more_often_than_they_say() -> None:
    """A few large clusters among many small ones: counted as 40 units each alike, half of these intervals would fail."""
    draw, sweeps, sizes = np.random.default_rng(0), 1000, np.array([60, 30, 20, *[1] * 37])
    shares = (draw.random((sweeps, len(sizes))) < 0.5) @ sizes / sizes.sum()

    def missed(count: int) -> float:
        bounds = [exact.bounds(float(share), count) for share in shares]
        return sum(not lower <= 0.5 <= upper for lower, upper in bounds) / sweeps

    assert missed(exact.effective_count(sizes.tolist())) <= 0.05 < 0.2 < missed(len(sizes))


@pytest.mark.parametrize(("above", "below", "p"), [(9, 1, 0.021484375), (0, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125)])
def test_the_sign_test_is_mcnemars(above: int, below: int, p: float) -> None:
    differences = np.array([1.0] * above + [-1.0] * below + [0.0] * 30)
    assert exact.sign_test(differences) == pytest.approx(p, rel=1e-12)
    assert exact.sign_test(-differences) == exact.sign_test(differences)


def test_what_is_better_by_its_mean_alone_or_by_its_signs_alone_is_not_called_better() -> None:
    """Two examples right by far, twenty wrong by a little: the mean and the signs point to different sides."""
    one = np.array([1.0] * 2 + [0.0] * 20)
    other = np.array([0.0] * 2 + [0.05] * 20)
    assert one.mean() > other.mean()
    assert not exact.better(one, other, 0.05) and not exact.better(other, one, 0.05)


def test_nothing_is_better_on_no_examples() -> None:
    """As two sweeps of models with different tokenizers have none in common."""
    assert not exact.better(np.zeros(0), np.zeros(0), 0.05)


@pytest.mark.parametrize("seeds", [1, 3])
def test_bounds_and_comparisons_fail_no_more_often_than_they_say(seeds: int) -> None:
    """Models that are right equally often, on 60 examples of which some are easy and some hard; means over seeds."""
    draw, sweeps, count = np.random.default_rng(0), 2000, 60
    missed = claimed = 0
    for _ in range(sweeps):
        ease = draw.beta(0.5, 0.5, count)  # the expected share of right ones is a half
        one, other = ((draw.random((seeds, count)) < ease).mean(axis=0) for _ in range(2))
        lower, upper = exact.bounds(float(one.mean()), count)
        missed += not lower <= 0.5 <= upper
        claimed += exact.better(one, other, 0.05) or exact.better(other, one, 0.05)
    most = 0.05 + 3 * (0.05 * 0.95 / sweeps) ** 0.5
    assert missed / sweeps <= most and claimed / sweeps <= most
