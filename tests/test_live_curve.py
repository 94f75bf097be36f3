"""A training loss as a line of characters: of any length, with gaps, of a resumed trial."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.live.curve import BARS, BROKEN, BUCKETS, Curve, sparkline


def curve(losses: Sequence[float], first: int = 1) -> Curve:
    made = Curve()
    for step, loss in enumerate(losses, first):
        made.add(step, loss)
    return made


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([2.5], BARS[4]),
        ([2.5, 2.5, 2.5], BARS[4] * 3),
        ([0, 1, 2, 3, 4, 5, 6, 7], BARS),
        ([3, None, 1], f"{BARS[7]} {BARS[0]}"),
        ([3, math.nan, math.inf, 1], f"{BARS[7]}{BROKEN}{BROKEN}{BARS[0]}"),
        ([math.nan], BROKEN),
        ([-1.7e308, 1.7e308], BARS[4] * 2),
    ],
    ids=[
        "none",
        "one",
        "constant",
        "each bar",
        "a gap",
        "not finite",
        "nothing finite",
        "further apart than floats go",
    ],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(values: Sequence[float | None], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_a_curve_is_drawn_as_far_as_training_has_come() -> None:
    assert curve([4, 3]).drawn(8, total=8) == "█▁"
    assert curve([4, 3]).drawn(4, total=8) == BARS[4], "both are in the first quarter"
    assert curve([4, 3]).drawn(8) == "████▁▁▁▁", "how long it takes is not known"
    assert curve([5, 4, 3]).drawn(9, total=3) == "███▅▅▅▁▁▁"
    assert Curve().drawn(8, total=8) == curve([1]).drawn(0) == ""


@given(st.lists(st.floats(0, 9), min_size=1, max_size=2000), st.integers(1, 60), st.integers(0, 3000))
def test_a_curve_of_any_length_keeps_to_its_width_and_its_memory(losses: list[float], width: int, total: int) -> None:
    made = curve(losses)
    drawn = made.drawn(width, total)
    assert len(drawn) == math.ceil(len(losses) * width / max(total, len(losses)))
    assert set(drawn) <= set(BARS)
    assert len(made._sums) == len(made._counts) <= BUCKETS and sum(made._counts) == len(losses)


def test_a_long_curve_has_the_shape_of_its_means() -> None:
    assert curve([9 - step // 1000 for step in range(8000)]).drawn(8) == BARS[::-1]
    assert curve([9 - (step // 1000) + (step % 2) for step in range(8000)]).drawn(8, total=16_000)[-1] == BARS[0]


def test_one_loss_that_is_not_finite_is_seen_in_a_long_curve() -> None:
    losses = [2.0] * 5000
    losses[2600] = math.nan
    assert curve(losses).drawn(10) == "▅▅▅▅▅×▅▅▅▅"


def test_what_was_before_a_trial_was_resumed_is_blank() -> None:
    assert curve([4, 3], first=5).drawn(8, total=8) == "    █▁"


def test_steps_that_are_repeated_after_a_restart_replace_what_came_from_there_on() -> None:
    made = curve([8, 7, 6, 5, 1, 1, 1])
    made.add(5, 4)
    assert made.drawn(8, total=8) == curve([8, 7, 6, 5, 4]).drawn(8, total=8)


def test_losses_that_are_reported_now_and_then_have_no_gaps_between_them() -> None:
    made = Curve()
    for step in (10, 20, 30):
        made.add(step, 40 - step)
    assert made.drawn(12, total=40) == "  ███▅▅▅▁"
