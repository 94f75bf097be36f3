"""What the answer says to run next, and that doing it is not asked for again."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep import analysis
from sweep.answer.advice import _Open, suggestions
from sweep.answer.answer import Suggestion
from sweep.statistics.stats import CONFIDENCE, Difference, Term
from tests.answers import REPORT, of_csv, of_rows, row, simulated
from tests.simulate import Design, compared, costs, losses

SEEDS = Design((0.0, 0.0), 3, 400, training_noise=0.004, interaction=0.001, rest=0.001)
EXAMPLES = Design((0.0, 0.0), 3, 100, training_noise=0.0003, interaction=0.02, rest=0.002)


def told(design: Design, low: float = 0.0, high: float = 0.002) -> tuple[Suggestion, ...]:
    """What the first sweep is told that leaves its smallest rank undecided, measured so far above the best."""
    for seed in range(100):
        sums, tokens = losses(design, 1, np.random.default_rng(seed))
        found = compared(sums[0], tokens[0])
        if found.verdict(0) == "undecided" and low <= found.differences[0] < high:
            return suggestions(found, costs(len(design.effects)), ("memory",), 0, CONFIDENCE)
    raise AssertionError("all are decided")


def pair(gap: float, trained: float, drawn: float, repeated: float = 0.0, seeds: int = 3) -> _Open:
    terms = (Term(np.array(trained), np.array(seeds - 1.0)), Term(np.array(drawn), np.array(50.0)))
    return _Open(1, Difference(np.array(0.0), terms, repeated), gap, 0.05, seeds)


def test_more_of_what_is_missing_closes_a_bound() -> None:
    by_seeds, by_examples = pair(0.005, 0.002**2, 1e-8), pair(0.005, 1e-8, 0.004**2)
    assert not by_seeds.closed(0, 1) and not by_examples.closed(0, 1)
    assert by_seeds.closed(3, 1) and not by_seeds.closed(0, 16)
    assert by_examples.closed(0, 4) and not by_examples.closed(20, 1)
    assert pair(0.005, 1e-8, 0.004**2, repeated=0.0035**2).closed(6, 1), "that part is of examples that differ by seed"


def test_so_many_more_seeds_are_enough_and_no_fewer() -> None:
    one = pair(0.005, 0.003**2, 0.0)
    found = next(more for more in range(30) if one.closed(more, 1))
    width = Difference(np.array(0.0), (Term(0.003**2 * 3 / np.array(3.0 + found), np.array(2.0 + found)),)).half_width(
        0.05
    )
    assert width <= 0.005
    assert not one.closed(found - 1, 1)


def test_examples_are_offered_first_where_they_would_do() -> None:
    (one,) = told(EXAMPLES)
    assert one.examples and one.examples > 100
    assert re.match(r"about [\d,]+ held-out examples instead of 100", one.text)


def test_seeds_are_asked_for_where_training_noise_is_most_of_it() -> None:
    (one,) = told(SEEDS)
    assert one.seeds and not one.examples
    assert re.fullmatch(r"about \d more seeds of r=4 and r=8", one.text)


def test_a_difference_at_the_margin_has_no_number() -> None:
    one = told(replace(EXAMPLES, effects=(0.005, 0.0)), 0.0049, 0.0051)[0]
    assert (one.seeds, one.examples) == (None, None)
    assert "another --margin" in one.text


def test_a_decided_pick_asks_only_about_cheaper_ones() -> None:
    design = Design((0.1, 0.0, 0.0, 0.0), 5, 400, training_noise=0.0003, interaction=0.001, rest=0.001)
    sums, tokens = losses(design, 1, np.random.default_rng(1))
    found = compared(sums[0], tokens[0])
    assert found.decided(1) and suggestions(found, costs(4), ("memory",), 1, CONFIDENCE) == ()


def test_a_large_grid_is_not_asked_for_as_a_whole(tmp_path: Path) -> None:
    """Fifteen configurations with one seed, of which three are near the best."""
    effects = (*(0.05 + 0.01 * index for index in range(12)), 0.004, 0.0, 0.001)
    found = analysis.answer(
        analysis.load(simulated(tmp_path, Design(effects, 1, 200, rest=0.01, interaction=0.01)).location)
    )
    assert found.recommendation
    (one,) = found.recommendation.suggestions
    near = tuple(found.configurations[index].label for index in (12, 13, 14))
    assert one.configurations == near
    assert one.text.startswith("2 more seeds of ")


def csv(table: list[dict[str, Any]]) -> str:
    names = list(table[0])
    return "\n".join([",".join(names), *(",".join(str(one[name]) for name in names) for one in table)])


def test_the_reports_rows_ask_for_seeds_with_held_out_loss_and_then_not_again(tmp_path: Path) -> None:
    first = of_csv(tmp_path, REPORT).recommendation
    assert first and not first.decided
    (asked,) = first.suggestions
    assert asked.seeds == 3 and asked.configurations == ("r=8", "r=128", "r=256")
    assert asked.text.startswith("3 seeds of r=8, r=128 and r=256 with a held-out split")
    done = [
        {"lora_r": rank, "seed": seed, "train_loss": 1.79, "eval_loss": loss + 0.001 * seed}
        for rank, loss in ((8, 1.8), (128, 1.79), (256, 1.785))
        for seed in range(1, 1 + asked.seeds)
    ]
    second = of_csv(tmp_path, csv(done)).recommendation
    assert second and not second.decided
    assert all(one.seeds is None for one in second.suggestions)
    assert "the loss of each of at least 20 held-out examples" in second.text


def test_only_seeds_with_held_out_loss_count(tmp_path: Path) -> None:
    rows = [row(f"r{rank}-s{seed}", rank, seed, eval_loss=2.0 if seed else None) for rank in (8, 16) for seed in (0, 1)]
    found = of_rows(tmp_path, rows).recommendation
    assert found and found.suggestions[0].seeds == 2
    assert found.suggestions[0].text == "2 more seeds of r=8 and r=16"


@pytest.mark.parametrize("count", [1, 2])
def test_with_the_seeds_that_were_asked_for_nothing_asks_for_three_again(tmp_path: Path, count: int) -> None:
    sums, tokens = losses(replace(SEEDS, effects=(0.0,) * 3), 1, np.random.default_rng(5))
    few = compared(sums[0, :, :count], tokens[0])
    (first,) = suggestions(few, costs(3), ("memory",), 0, CONFIDENCE)
    assert first.seeds == 3 - count
    (then,) = suggestions(compared(sums[0], tokens[0]), costs(3), ("memory",), 0, CONFIDENCE)
    assert then.text != first.text


def test_uneven_spreads_ask_for_seeds_to_see_whether_they_stay() -> None:
    (one,) = told(replace(SEEDS, effects=(0.0,) * 3, spreads=(1.0, 1.0, 30.0), training_noise=0.0005, seed_noise=0.0))
    assert one.seeds == 2
    assert one.text.endswith("to see whether the spread of r=16 stays that large")
