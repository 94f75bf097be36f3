"""What keeps a pick from being called decided is said in the same sentence; and nothing that is claimed is taken back."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep import analysis
from sweep.answer.answer import Answer, Recommendation
from sweep.answer.groups import group
from sweep.answer.measured import far_off
from sweep.show.page import render_html
from sweep.store.store import Store
from tests.answers import simulated
from tests.simulate import Design, losses, trial_id, write

CLEAR = Design((0.0, 0.0, 0.02), 5, 200, training_noise=0.0005, interaction=0.002, rest=0.002)


def store_of(folder: Path, design: Design = CLEAR) -> Store:
    return simulated(folder, design, seed=1)


def change(store: Store, name: str, **values: Any) -> None:
    found = next(one for one in store.trials().to_pylist() if one["trial_id"] == name)
    store.write_trial({**found, **values}, {})


def answer(store: Store) -> tuple[Answer, Recommendation]:
    found = analysis.answer(analysis.load(store.location))
    assert found.recommendation
    return found, found.recommendation


def test_with_the_evidence_it_is_decided(tmp_path: Path) -> None:
    _, pick = answer(store_of(tmp_path))
    assert pick.decided and pick.label == "r=4"
    assert pick.text.startswith("Take r=4: it is the cheapest configuration shown to be within 0.5 % of the best.")


def test_losses_over_other_texts_claim_nothing(tmp_path: Path) -> None:
    """As `--grid dataset_name=a,b` makes them: held-out example 0 of the one is not example 0 of the other."""
    store = store_of(tmp_path)
    for seed in range(CLEAR.seeds):
        for configuration, data in ((0, "a"), (1, "a"), (2, "b")):
            change(store, trial_id(configuration, seed), provenance=json.dumps({"data_fingerprint": data}))
    found, pick = answer(store)
    assert found.basis == "none" and not pick.decided
    assert not any(one.comparison and one.comparison.different for one in found.configurations)
    assert any("different data" in warning for warning in found.warnings)


# --- bad runs --------------------------------------------------------------------------------------------------------


def test_diverged_runs_are_said_where_the_pick_is(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    for seed in (1, 3):
        change(store, trial_id(0, seed), eval_loss=float("nan"))
    found, pick = answer(store)
    assert found.basis == "seeds" and not pick.decided
    assert pick.text.startswith(
        "Take r=4: it is the cheapest within 0.5 % of the best as measured, but 2 of its 5 runs diverged. "
    )


@pytest.mark.parametrize(("status", "said"), [("oom", "ran out of memory"), ("failed", "failed")])
def test_runs_that_failed_for_other_reasons_are_said_too_and_decide_nothing(
    tmp_path: Path, status: str, said: str
) -> None:
    store = store_of(tmp_path)
    change(store, trial_id(0, 1), status=status, eval_loss=None)
    change(store, trial_id(1, 2), eval_loss=float("inf"))
    _, pick = answer(store)
    assert pick.decided
    assert f", but 1 of its 5 runs {said}." in pick.text
    assert "diverged" not in pick.text


def test_a_run_far_off_its_siblings_is_named_and_not_averaged_away(tmp_path: Path) -> None:
    """One run of ten times the loss made every verdict "undecided" and asked for eleven more seeds."""
    store = store_of(tmp_path)
    before, _ = answer(store)
    sums = [one["loss_sum"] for one in store.evals().to_pylist() if one["trial_id"] == trial_id(0, 2)]
    tenfold(store, trial_id(0, 2))
    found, pick = answer(store)
    assert not pick.decided
    assert ", but 1 of its 5 runs ended far from the others." in pick.text
    assert re.search(r"r4-s2 ended at \d\d\.\d+, far from the 1\.\d+ of its other seeds", " ".join(found.warnings))
    for one, old in zip(found.configurations, before.configurations, strict=True):
        assert one.comparison and old.comparison
        assert one.comparison.verdict == old.comparison.verdict
        assert one.loss == pytest.approx(old.loss, rel=0.002)
    assert not pick.suggestions
    assert len(sums) == 200


def tenfold(store: Store, name: str) -> None:
    rows = [one for one in store.evals().to_pylist() if one["trial_id"] == name]
    store.write_evals(name, [{**one, "loss_sum": 10 * one["loss_sum"]} for one in rows])
    loss = sum(one["loss_sum"] for one in rows) / sum(one["tokens"] for one in rows)
    change(store, name, eval_loss=10 * loss)


def test_a_bad_run_of_another_rank_leaves_the_pick_decided(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    tenfold(store, trial_id(1, 2))
    found, pick = answer(store)
    assert pick.decided and pick.label == "r=4"
    assert any("r8-s2 ended at" in line for line in found.warnings)


def runs(*table: tuple[float, ...]) -> tuple[list[Any], dict[str, float]]:
    rows = [
        {"trial_id": f"{k}-{seed}", "status": "completed", "lora_r": k + 1, "seed": seed}
        for k, losses in enumerate(table)
        for seed in range(len(losses))
    ]
    return group(rows, ()), {f"{k}-{seed}": loss for k, losses in enumerate(table) for seed, loss in enumerate(losses)}


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        (((1.0, 1.001, 1.3), (1.0, 1.002, 0.999)), {"0-2"}),
        (((1.0, 1.001, 0.5), (1.0, 1.002, 0.999)), {"0-2"}),
        (((1.0, 1.001, 1.04), (1.0, 1.002, 0.999)), set()),
        (((1.0, 1.2, 1.4, 0.9), (1.0, 1.1, 0.8, 1.3)), set()),
        (((1.0, 1.001, 20.0), (1.0, 1.002, 19.0)), set()),
        (((1.0, 1.001, 20.0),), {"0-2"}),
        (((1.0, 20.0), (1.0, 1.002)), set()),
    ],
    ids=["far", "far-below", "within-5-%", "all-spread", "a-seed-of-all", "alone", "one-of-two"],
)
def test_a_run_is_far_off_by_the_spread_of_all(table: tuple[tuple[float, ...], ...], bad: set[str]) -> None:
    assert set(far_off(*runs(*table))) == bad


def test_runs_of_a_normal_spread_are_not_called_bad() -> None:
    rng = np.random.default_rng(1)
    tables = np.exp(rng.normal(0, 0.05, (2000, 4, 3)))
    assert sum(bool(far_off(*runs(*map(tuple, table)))) for table in tables) <= 20


# --- spread over seeds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wild", [0, 1])
def test_a_spread_far_above_the_others_decides_nothing_and_says_so(tmp_path: Path, wild: int) -> None:
    spreads = [1.0, 1.0, 1.0]
    spreads[wild] = 20.0
    design = Design(CLEAR.effects, 5, 200, 0.0, 0.0005, 0.002, 0.002, tuple(spreads))
    found, pick = answer(simulated(tmp_path, design, seed=3))
    assert found.basis == "seeds" and not pick.decided
    name = ("r=4", "r=8")[wild]
    assert re.search(rf", but the losses of {name} spread \d+ times as much over seeds as the others'", pick.text)
    assert not any(one.comparison and one.comparison.different for one in found.configurations)
    assert not pick.tied


def test_seeds_that_repeat_one_loss_are_no_evidence(tmp_path: Path) -> None:
    """The spread is exactly zero: what varies is not the seed."""
    store = Store(str(tmp_path))
    sums, tokens = losses(CLEAR, 1, np.random.default_rng(1))
    write(store, np.repeat(sums[0][:, :1], 5, axis=1), tokens[0])
    found, pick = answer(store)
    assert found.basis == "examples" and not pick.decided
    assert "All seeds of r=4, r=8 and r=16 gave the same loss: they say nothing about training noise." in pick.text


def test_differences_without_any_spread_are_no_evidence(tmp_path: Path) -> None:
    """A rank's losses made from another's by a factor."""
    store = Store(str(tmp_path))
    sums, tokens = losses(CLEAR, 1, np.random.default_rng(1))
    write(store, np.stack([sums[0, 0], 1.001 * sums[0, 0]]), tokens[0])
    _, pick = answer(store)
    assert not pick.decided
    assert "they say nothing about training noise" in pick.text


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_few_seeds_the_text_speaks_of_models_and_takes_nothing_back(tmp_path: Path, seeds: int) -> None:
    design = Design((0.1, 0.05, 0.0), seeds, 200, interaction=0.01, rest=0.01)
    found, pick = answer(store_of(tmp_path, design))
    assert "of these trained models none is better" in pick.text
    assert "confidence" not in pick.text
    assert "Comparing the ranks takes 3 or more seeds" in pick.text
    there = "there is one seed." if seeds == 1 else "there are 2 seeds of each."
    assert there in pick.text
    assert "Claims begin at 3 --seeds and usually succeed at 5 to 10." in found.basis_text


def test_seeds_of_each_are_said_only_where_each_has_as_many(tmp_path: Path) -> None:
    design = Design((0.0, 0.0), 2, 200)
    store = store_of(tmp_path, design)
    (Path(store.location) / "trials" / f"{trial_id(1, 1)}.parquet").unlink()
    found, pick = answer(store)
    assert "of each" not in pick.text
    assert "there are 1 to 2 seeds" in pick.text
    assert "(1 to 2 seeds, 200 held-out examples)" in found.basis_text
    assert "Not all have the same seeds: losses are adjusted for that" in pick.text
    value = re.search(r"held-out loss of (\d\.\d{4})", pick.text)
    losses_of = {one["trial_id"]: one["eval_loss"] for one in store.trials().to_pylist()}
    first, second, other = (losses_of[trial_id(k, s)] for k, s in ((0, 0), (0, 1), (1, 0)))
    own = {"r=2": math.sqrt(first * second), "r=8": other * math.sqrt(second / first)}
    assert value and float(value[1]) == pytest.approx(own[pick.label], abs=1e-4)


def test_means_over_different_seeds_are_called_that(tmp_path: Path) -> None:
    store = store_of(tmp_path, Design((0.0, 0.0), 2, 200))
    for k in (0, 1):
        (Path(store.location) / "trials" / f"{trial_id(k, k)}.parquet").unlink()
    found, pick = answer(store)
    assert found.basis == "none"
    assert "They do not all share seeds, so the losses compared are means over different seeds." in pick.text


def test_what_no_bound_covers_is_in_the_report(tmp_path: Path) -> None:
    sweep = analysis.load(store_of(tmp_path).location)
    page = render_html(sweep, analysis.answer(sweep))
    assert page.count("looking again and again") == 1


def test_a_far_worse_rank_needs_no_more_seeds(tmp_path: Path) -> None:
    """r=16 has one seed, and is 10 % worse: nobody waits for two more."""
    store = store_of(tmp_path, Design((0.0, 0.0, 0.1), 5, 200, training_noise=0.0005, interaction=0.002, rest=0.002))
    for seed in range(1, 5):
        (Path(store.location) / "trials" / f"{trial_id(2, seed)}.parquet").unlink()
    config = json.loads((Path(store.location) / "sweep.json").read_text())
    store.write_sweep({**config, "trials": []})
    found, pick = answer(store)
    assert found.basis == "seeds" and pick.decided and pick.label == "r=4"
    assert "Far worse as measured, so left aside with fewer than 3 seeds: r=16." in pick.text
    assert not pick.suggestions
