"""What the answer says of scores: metrics of a configuration, bounds, and warnings that noise does not set off."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sweep import analysis
from sweep.answer.answer import Answer
from sweep.common.column import is_shown
from sweep.show.page import render_html
from sweep.statistics import exact
from sweep.statistics.stats import Floats
from sweep.store.columns import METRICS
from sweep.store.store import Store
from tests.simulate import Design, losses, rank, trial_id, write

RANKS = (0.0, 0.05)  # so that r=4 is the pick by loss
SET = "wiki.jsonl"
DISAGREE, FORGOT, LACKING = "Loss and exact match disagree", "forgot more", "lack scores"


def answer(
    folder: Path,
    right: Mapping[int, Any] | None = None,
    after: Mapping[int, Any] | None = None,
    effects: tuple[float, ...] = RANKS,
    seeds: int = 1,
    rows: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Answer:
    """Two ranks, r=4 and r=8, with what each generated and what each forgot: (seeds, examples) by configuration.

    Args:
        right: 1 where an example's generation matches; `after`: an example's loss after training, where before it was 2 a token.
        effects: log ratios of their held-out losses.
        rows: further columns of the exact matches, one value for each.
    """
    store = Store(str(folder / "toy"))
    sums, tokens = losses(Design(effects, seeds, 100, training_noise=1e-4), 1, np.random.default_rng(0))
    write(store, sums[0], tokens[0])
    for k in range(len(effects)):
        for seed in range(seeds):
            name = trial_id(k, seed)
            found: dict[str, Any] = {"scoring_time_s": 1.0}
            scores: list[dict[str, Any]] = []
            if right is not None:
                own = np.broadcast_to(right[k], (seeds, len(np.atleast_2d(right[k])[0])))[seed]
                found["exact_match"] = float(own.mean())
                scores += [
                    {
                        "metric": "exact_match",
                        "example_id": place,
                        "after": float(value),
                        "expected": "x",
                        **{key: values[place] for key, values in rows.items()},
                    }
                    for place, value in enumerate(own)
                ]
            if after is not None:
                own = np.broadcast_to(after[k], (seeds, len(np.atleast_2d(after[k])[0])))[seed]
                found["forgetting"] = float(own.mean() - 2.0)
                shared = {"metric": "loss", "dataset": SET, "tokens": 10, "before": 20.0}
                scores += [{**shared, "example_id": place, "after": 10 * value} for place, value in enumerate(own)]
            store.write_scores(name, [{"trial_id": name, **one} for one in scores])
            store.write_trial({**(store.trial(name) or {}), **found}, {})
    return analysis.answer(analysis.load(store.location))


def about(found: Answer, what: str) -> list[str]:
    return [line for line in found.warnings if what in line]


def nested(first: int, second: int, count: int = 100) -> dict[int, Floats]:
    """So many right of each, and what one has right the other has right too, as far as it goes."""
    return {0: (np.arange(count) < first).astype(float), 1: (np.arange(count) < second).astype(float)}


# --- exact match -----------------------------------------------------------------------------------------------------


def test_a_score_is_a_metric_with_a_direction_and_exact_bounds_everywhere(tmp_path: Path) -> None:
    found = answer(tmp_path, nested(40, 60), {0: np.full(100, 2.1), 1: np.full(100, 2.3)})
    assert METRICS["exact_match"].shown_as.better == "max" and METRICS["forgetting"].shown_as.better == "min"
    assert all(is_shown(METRICS[name], "table") for name in ("exact_match", "forgetting"))
    first = json.loads(analysis.render(found, "json"))["configurations"][0]
    assert (first["exact_match"], first["forgetting"]) == (0.4, pytest.approx(0.1))
    assert (first["exact_match_lower"], first["exact_match_upper"]) == pytest.approx(exact.bounds(0.4, 100))
    assert next(csv.DictReader(io.StringIO(analysis.render(found, "csv"))))["exact_match"] == "0.4"
    table = pq.read_table(io.BytesIO(analysis.parquet(found)))
    assert table["exact_match"].to_pylist() == [0.4, 0.6] and table["forgetting"].null_count == 0
    sweep = analysis.load(str(tmp_path / "toy"))
    for text in (analysis.render(found, "table", width=400), render_html(sweep, found)):
        assert "40.0 % (30.3 % to 50.3 %)" in text and "2.0000 → 2.1000" in text
    (loss,) = found.sets
    assert loss.dataset == SET and loss.examples == 100
    assert loss.after == pytest.approx({"r=4": 2.1, "r=8": 2.3}) and loss.before == pytest.approx(
        {"r=4": 2.0, "r=8": 2.0}
    )


def test_a_better_score_beyond_chance_speaks_up_against_the_pick_by_loss(tmp_path: Path) -> None:
    found = answer(tmp_path, nested(45, 55))
    assert found.recommendation is not None and found.recommendation.label == "r=4"
    (line,) = about(found, DISAGREE)
    assert "r=8 gives the reference more often than the pick by loss, r=4: 55.0 % against 45.0 %" in line


@pytest.mark.parametrize(
    "right",
    [
        {0: np.arange(100) < 45, 1: np.arange(100) >= 45},  # the same shares as above, on other examples of each
        nested(45, 49),  # too few to tell
        nested(55, 45),  # the pick is the better one
        nested(50, 50),
        nested(0, 0),
    ],
    ids=["unpaired", "few", "agrees", "equal", "none"],
)
def test_what_may_be_chance_does_not(right: dict[int, Any], tmp_path: Path) -> None:
    assert about(answer(tmp_path, right), DISAGREE) == []


def test_with_more_to_compare_it_takes_more(tmp_path: Path) -> None:
    """Six more right of 100, none fewer: p = 0.031, which is beyond chance for one comparison and not for two."""
    right = nested(45, 51)
    assert about(answer(tmp_path / "two", right), DISAGREE)
    assert not about(answer(tmp_path / "three", {**right, 2: right[0]}, effects=(0.0, 0.05, 0.05)), DISAGREE)


@pytest.mark.parametrize("column", ["group", "content_hash"])
def test_clusters_and_duplicates_count_once(column: str, tmp_path: Path) -> None:
    """Ten discordant examples are two clusters of five."""
    names = [f"c{place // 5}" for place in range(100)]
    found = answer(tmp_path, nested(45, 55), rows={column: names})
    assert about(found, DISAGREE) == []
    first = found.configurations[0].results
    assert (first["exact_match_lower"], first["exact_match_upper"]) == pytest.approx(exact.bounds(0.45, 20))


def test_examples_are_shared_by_seeds(tmp_path: Path) -> None:
    """Three seeds of a model that is right on the same examples are no more evidence than one."""
    found = answer(tmp_path, nested(40, 60), seeds=3)
    results = found.configurations[0].results
    assert (results["exact_match_lower"], results["exact_match_upper"]) == pytest.approx(exact.bounds(0.4, 100))


# --- forgetting ------------------------------------------------------------------------------------------------------

HARD = 2 + np.random.default_rng(1).gamma(2.0, 1.0, 100)  # examples differ far more than ranks do


def forgot(more: float) -> dict[int, Any]:
    """The pick's loss is so much higher on each example, give or take a little."""
    noise = np.random.default_rng(2).normal(0, 0.02, 100)
    return {0: HARD, 1: HARD + more + noise}


def test_a_pick_that_forgot_more_than_what_is_cheaper_is_named(tmp_path: Path) -> None:
    found = answer(tmp_path, after=forgot(0.05), effects=(0.1, 0.0))
    assert found.recommendation is not None and found.recommendation.label == f"r={rank(1)}"
    (line,) = about(found, FORGOT)
    assert line.startswith(f"The pick, r=8, forgot more on {SET} than what is cheaper") and "r=4's to" in line
    assert "for these trained models" in line


def test_with_three_seeds_it_is_said_of_the_configuration(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.005, (3, 1))
    after = {0: HARD + noise, 1: HARD * 1.2 + noise[::-1]}
    (line,) = about(answer(tmp_path, after=after, effects=(0.1, 0.0), seeds=3), FORGOT)
    assert "whatever the seed" in line


@pytest.mark.parametrize(
    ("after", "effects"),
    [
        ({0: HARD, 1: np.random.default_rng(4).permutation(HARD + 0.05)}, (0.1, 0.0)),
        (forgot(0.0), (0.1, 0.0)),
        (forgot(-0.05), (0.1, 0.0)),
        ({0: forgot(0.05)[1], 1: HARD}, RANKS),
    ],
    ids=["unpaired", "noise", "less", "the dearer one remembers"],
)
def test_what_is_noise_or_no_reason_against_the_pick_is_not(
    after: dict[int, Any], effects: tuple[float, ...], tmp_path: Path
) -> None:
    """Shuffled over the examples the same losses show nothing: what counts is the difference example by example."""
    assert about(answer(tmp_path, after=after, effects=effects), FORGOT) == []


# --- what was not scored ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [{"eval_dataset_name": [SET]}, {"eval_generation": "exact_match"}])
def test_trials_without_a_score_that_is_asked_for_are_named(base: dict[str, Any], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "toy"))
    sums, tokens = losses(Design(RANKS, 1), 1, np.random.default_rng(0))
    write(store, sums[0], tokens[0])
    assert about(analysis.answer(analysis.load(store.location)), LACKING) == []
    store.write_sweep({**store.read_sweep(), "base": base})
    (line,) = about(analysis.answer(analysis.load(store.location)), LACKING)
    assert line.startswith(f"2 of 2 completed trials {LACKING}") and trial_id(0, 0) in line


def test_several_sweeps_keep_their_scores(tmp_path: Path) -> None:
    for name in ("a", "b"):
        answer(tmp_path / name, nested(45, 55), {0: HARD, 1: HARD})
    found = analysis.compare([analysis.load(str(tmp_path / name / "toy")) for name in ("a", "b")])
    assert [one.results["exact_match"] for one in found.configurations] == [0.45, 0.55, 0.45, 0.55]
    assert {label for one in found.sets for label in one.after} == {one.label for one in found.configurations}
