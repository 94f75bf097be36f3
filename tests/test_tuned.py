"""The answer of a sweep with a tuned setting: each rank at its best value, the choice allowed for, everything kept."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import log1p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

import sweep.answer.tuned as choosing
from sweep import analysis
from sweep.answer.advice import suggestions
from sweep.answer.answer import Answer, Suggestion
from sweep.errors import NotASweep
from sweep.policies.policy import Result
from sweep.policies.race import Arm
from sweep.policies.standing import ByBounds
from sweep.space import Trial
from sweep.statistics.examples import shared
from sweep.statistics.stats import CONFIDENCE, Floats
from sweep.store.store import Store
from tests import tuned
from tests.answers import of_rows, recommended, row
from tests.simulate import Design
from tests.tuned import LADDER, QUIET, SMALL, Tried


def answer(tried: Sequence[Tried] = SMALL, design: Design = QUIET, **note: Any) -> Answer:
    sums, tokens = tuned.sums(tried, design, 1, 0)
    return analysis.answer(tuned.in_memory(tried, sums[0], tokens[0], note))


def chosen(found: Answer) -> list[str]:
    return [one.label for one in found.compared]


# --- what is chosen --------------------------------------------------------------------------------------------------


def test_each_rank_is_compared_at_its_best_value(tmp_path: Path) -> None:
    found = analysis.answer(analysis.load(tuned.write(Store(str(tmp_path / "sweep"))).location))
    assert found == replace(answer(), name="sweep")  # in memory and from its files
    at = [f"r=2 {(key := 'learning_rate')}=0.01", f"r=8 {key}=0.003", f"r=32 {key}=0.001", f"full {key}=0.0001"]
    assert chosen(found) == at
    assert len(found.configurations) == len(SMALL)
    assert [one.label for one in found.configurations if one.comparison] == at
    assert found.recommendation and found.recommendation.decided
    assert found.recommendation.text.startswith(
        f"Take {at[1]}: with each rank at its best learning_rate, it is the cheapest configuration shown to be within"
    )
    assert found.recommendation.tied == (at[2], at[3])
    assert not any("Without a result" in line for line in found.warnings)
    assert {label for front in found.fronts for label in front.labels} <= set(at)


def test_a_grid_over_the_learning_rate_stays_a_grid_of_configurations() -> None:
    sums, tokens = tuned.sums(SMALL, QUIET, 1, 0)
    grid = tuned.in_memory(SMALL, sums[0], tokens[0])
    del grid.config["tune"]
    found = analysis.answer(grid)
    assert len(found.compared) == len(SMALL) and found.tuned is None
    assert {(one.tuned, one.tuning_loss) for one in found.configurations} == {(None, None)}
    assert "best learning_rate" not in analysis.render(found)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([Tried(8, 1e-3, 0.0), Tried(8, 3e-3, 0.001, 3)], 3e-3),  # the sweep chose it, and trained more seeds of it
        ([Tried(8, 1e-3, 0.0, 3), Tried(8, 3e-3, 0.01, 3)], 1e-3),
        ([Tried(8, 1e-3, 0.0, 1, "diverged"), Tried(8, 3e-3, 0.03)], 3e-3),
        ([Tried(8, 1e-3, 0.0, 3, "diverged"), Tried(8, 3e-3, 0.03, 3)], 3e-3),
        ([Tried(8, 1e-3, 0.0, 1, "oom"), Tried(8, 3e-3, 0.03, 1, "failed"), Tried(8, 1e-2, 0.03)], 1e-2),
        ([Tried(8, 1e-3, 0.0, 1, "interrupted"), Tried(8, 3e-3, 0.03)], 3e-3),
    ],
)
def test_the_best_value_has_the_lowest_loss_or_the_most_seeds(values: list[Tried], best: float) -> None:
    found = answer([*values, Tried(32, 1e-3, 0.0, 3)])
    assert chosen(found) == [f"r=8 learning_rate={best:g}", "r=32 learning_rate=0.001"]


def test_a_rank_without_any_loss_is_named_once() -> None:
    lost = [Tried(64, rate, 0.0, 1, "oom") for rate in (3e-4, 1e-3)]
    found = answer([*SMALL, *lost])
    assert "Without a result, so not compared: r=64 learning_rate=0.0003." in found.warnings
    assert found.tuned == replace(answer().tuned, tried=9)  # type: ignore[type-var]
    assert sum(one.status == "oom" for one in found.outcomes) == 2


def test_one_seed_says_what_one_seed_can() -> None:
    found = answer([replace(one, seeds=1) for one in SMALL])
    assert found.basis == "examples"
    assert found.recommendation and not found.recommendation.decided
    assert "with each rank at its best learning_rate, it is of the models trained here the cheapest" in (
        found.recommendation.text
    )


def test_a_rank_alone_is_the_only_one() -> None:
    found = answer([one for one in SMALL if one.rank == 32])
    assert found.recommendation
    assert "it is the best learning_rate of the only rank with a result" in found.recommendation.text


def test_a_sweep_that_runs_answers_from_what_has_ended(tmp_path: Path) -> None:
    store = tuned.write(Store(str(tmp_path / "runs")), SMALL[:5])
    content = tuned.config(SMALL)
    later = tuned.planned([Tried(8, 3e-3, 0.0, 4)])
    store.write_sweep({**content, "trials": [*tuned.planned(SMALL[:5]), *later[3:]]})
    found = analysis.answer(analysis.load(store.location))
    assert found.partial and chosen(found)[1] == "r=8 learning_rate=0.003"
    assert not any("Asked for" in line for line in found.warnings)
    store.write_sweep({**content, "trials": tuned.planned(SMALL[:5])})
    ended = analysis.answer(analysis.load(store.location))
    assert any(line.startswith("Requested but not trained: r=32, full. ") for line in ended.warnings)
    empty = Store(str(tmp_path / "empty"))
    empty.write_sweep({**content, "trials": later})
    assert analysis.answer(analysis.load(empty.location)).recommendation is None


def test_another_setting_can_be_tuned(tmp_path: Path) -> None:
    rows = [row(f"{rank}-{alpha}", rank, lora_alpha=alpha, eval_loss=2 + (alpha - 2 * rank) ** 2 / 1e4) for rank, alpha in
            ((8, 8.0), (8, 16.0), (16, 16.0), (16, 32.0))]  # fmt: skip
    note = {"key": "lora_alpha", "ladder": [8, 16, 32]}
    found = of_rows(tmp_path, rows, axes=[{}] * 4, tune=note, trials=[{"trial_id": one["trial_id"]} for one in rows])
    assert chosen(found) == ["r=8 lora_alpha=16", "r=16 lora_alpha=32"]
    assert "| r=8 | 2.0064 | 2.0000 \\* | – |" in analysis.render(found, "markdown")


# --- the ends of the ladder ------------------------------------------------------------------------------------------


def test_a_best_value_at_an_end_of_the_ladder_is_said() -> None:
    found = answer()
    assert found.tuned and found.recommendation
    assert found.tuned.edges == {"r=2 learning_rate=0.01": "highest", "full learning_rate=0.0001": "lowest"}
    assert (
        "r=2 learning_rate=0.01 is at the upper end of the ladder: a higher learning_rate may do better still (--ladder)."
        in found.recommendation.text
    )
    wider = answer(ladder=[1e-5, *LADDER, 3e-2])
    assert wider.tuned and wider.tuned.edges == {} and wider.recommendation
    assert "ladder" not in wider.recommendation.text
    assert answer(ladder=7).tuned == replace(found.tuned, edges={})  # anybody may have written sweep.json
    own = answer(full_ladder=[1e-5, 1e-4])
    assert own.tuned and own.tuned.edges["full learning_rate=0.0001"] == "highest"


# --- the choice does not flatter -------------------------------------------------------------------------------------

SWEEPS, LEVEL, MARGIN = 200, 0.05, 0.005  # 28 of them are wrong without the correction, and 18 are allowed
ALLOWED = int(scipy_stats.binom.isf(0.01, SWEEPS, LEVEL))
TEN = Design((), 10, 20, training_noise=0.002, interaction=0.0005, rest=0.0005)
CHOSEN_FROM_FIVE = [*(Tried(4, rate, log1p(MARGIN), 10) for rate in LADDER), Tried(8, 1e-3, 0.0, 10)]


def false_claims(first_seed_chooses: bool) -> int:
    """Sweeps whose answer is shown to be the rank at the margin, which has five equal values to choose from."""
    sums, tokens = tuned.sums(CHOSEN_FROM_FIVE, TEN, SWEEPS, 5)
    found = [
        analysis.answer(tuned.in_memory(_as_tuned(own) if first_seed_chooses else CHOSEN_FROM_FIVE, own, words))
        for own, words in zip(sums, tokens, strict=True)
    ]
    picks = [one.recommendation for one in found if one.recommendation and one.recommendation.decided]
    return sum(one.label.startswith("r=4") for one in picks)


def _as_tuned(sums: Floats) -> list[Tried]:
    """The values that the first seed did not choose have that one alone."""
    best = int(sums[:-1, 0].sum(axis=-1).argmin())
    return [one if place in (best, 5) else replace(one, seeds=1) for place, one in enumerate(CHOSEN_FROM_FIVE)]


@pytest.mark.parametrize("first_seed_chooses", [False, True])
def test_a_chosen_value_makes_no_claim_more_often_false(first_seed_chooses: bool) -> None:
    assert false_claims(first_seed_chooses) <= ALLOWED


def test_an_answer_that_knows_nothing_of_the_choice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "corrected", lambda chosen, tried: CONFIDENCE)
    assert false_claims(first_seed_chooses=False) > ALLOWED


def test_the_bounds_say_that_they_allow_for_the_choice() -> None:
    """The same runs without those that were not chosen have narrower bounds."""
    best = [one for one in SMALL if one.seeds == 3]
    sums, tokens = tuned.sums(SMALL, QUIET, 1, 0)
    kept = np.array([one in best for one in SMALL])
    alone = analysis.answer(tuned.in_memory(best, sums[0][kept], tokens[0]))
    found = answer([replace(one, status="diverged") if one.rank == 2 else one for one in SMALL])
    assert alone.tuned and found.tuned and (alone.tuned.tried, found.tuned.tried) == (3, 7)
    upper = [[one.comparison.upper for one in it.compared if one.comparison] for it in (alone, found)]
    assert all(a is not None and b is not None and 0 < a < b for a, b in zip(*upper, strict=True))
    assert "They allow for the choice of each rank's learning_rate among 7 configurations." in found.basis_text
    assert "allow for" not in alone.basis_text
    assert (alone.confidence, found.confidence) == (CONFIDENCE, CONFIDENCE)


def test_the_answer_says_what_the_race_decided() -> None:
    """The judge of a race and the answer to the sweep that it leaves: the same bounds, verdicts and pick."""
    sums, tokens = tuned.sums(SMALL, QUIET, 1, 0)
    swept = tuned.in_memory(SMALL, sums[0], tokens[0])
    found = analysis.answer(swept, prefer=["memory"])
    rows = swept.records()
    results = {one["trial_id"]: Result(one["trial_id"], one["status"], one["eval_loss"]) for one in rows}
    arms = []
    for one in found.compared:
        own = [row for row in rows if row["trial_id"] in one.trials]
        trials = [Trial(row["trial_id"], one.lora_r, None, row["seed"], {}, {}, "") for row in own]
        arms.append(Arm(one.label, trials[0].rank, tuple(trials)))
    judge = ByBounds(found.margin, lambda losses: shared(swept, losses, "tokens"))
    assert found.tuned
    standing = judge(arms, results, found.tuned.tried)
    assert standing.pick is not None and arms[standing.pick].label == recommended(found)
    assert found.recommendation and standing.decided == found.recommendation.decided
    for place, one in zip(standing.places, found.compared, strict=True):
        assert place and one.comparison
        assert place.numbers["upper"] == one.comparison.upper and place.verdict == one.comparison.verdict


def test_advice_allows_for_the_choice_as_the_bounds_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would settle it by bounds that know nothing of the choice is less."""
    tried = [replace(one, effect=one.effect / 2, seeds=3) for one in CHOSEN_FROM_FIVE]
    sums, tokens = tuned.sums(tried, replace(TEN, seeds=3), 12, 5)
    asked: list[tuple[int | None, int | None]] = []

    def asking(compared: Any, costs: Any, order: Any, pick: int, confidence: float) -> tuple[Suggestion, ...]:
        given, plain = (suggestions(compared, costs, order, pick, one) for one in (confidence, CONFIDENCE))
        asked.append((given[0].seeds, plain[0].seeds))
        return given

    monkeypatch.setattr("sweep.answer.recommend.suggestions", asking)
    for own, words in zip(sums, tokens, strict=True):
        analysis.answer(tuned.in_memory(tried, own, words))
    more = [(seeds, without) for seeds, without in asked if seeds is not None and without is not None]
    assert all(seeds >= without for seeds, without in more)
    assert sum(seeds > without for seeds, without in more) >= 3


# --- how it is shown -------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_rank_and_the_others_folded_below() -> None:
    text = analysis.render(answer(), width=150)
    lines = [line.split() for line in text.splitlines()]
    assert sum(line[:1] == ["r=32"] and "learning_rate=0.001" in line for line in lines) == 2  # two tables by width
    assert ["learning_rate", "0.0001", "0.0003", "0.001", "0.003", "0.01"] in lines
    (tried,) = [line for line in lines if line[:1] == ["r=8"] and line[-1] == "diverged"]
    assert tried[1:3] == ["–", "–"] and tried[-2] == "*" and len(tried) == 7
    assert "* marks the one compared above" in text
    assert max(len(line) for line in analysis.render(answer(), width=80).splitlines()) <= 80


def test_what_a_value_was_chosen_by_is_over_the_seeds_that_all_of_its_rank_have() -> None:
    found = answer()
    best = found.configuration("r=8 learning_rate=0.003")
    sums, tokens = tuned.sums(SMALL, QUIET, 1, 0)
    assert best.tuning_loss == pytest.approx(sums[0, 3, 0].sum() / tokens[0].sum())
    assert best.loss == pytest.approx(np.mean(sums[0, 3].sum(axis=-1) / tokens[0].sum()))


def test_json_keeps_every_configuration() -> None:
    kept = json.loads(analysis.render(answer(), "json"))
    assert [one["tuned"] for one in kept["configurations"]].count(True) == 4
    assert len(kept["configurations"]) == len(SMALL)
    assert kept["tuned"]["key"] == "learning_rate"
    diverged = next(one for one in kept["configurations"] if one["label"] == "r=8 learning_rate=0.01")
    assert (diverged["tuned"], diverged["tuning_loss"], diverged["comparison"]) == (False, None, None)
    assert len(analysis.render(answer(), "csv").splitlines()) == len(SMALL) + 1


# --- sweep.json ------------------------------------------------------------------------------------------------------


def test_what_is_tuned_is_written_down_though_keys_are_secrets(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_sweep({"tune": {"key": "learning_rate", "api_key": "abcdefghij", "ladder": [1e-4]}})
    assert store.read_sweep()["tune"] == {"key": "learning_rate", "ladder": [1e-4]}
    store.write_sweep({"tune": "learning_rate"})
    with pytest.raises(NotASweep, match="unexpected type of tune"):
        store.read_sweep()


# --- without --tune --------------------------------------------------------------------------------------------------

HOLDS = "This holds at learning_rate 0.008, at which all were trained; --tune learning_rate compares each rank at its own best."


@pytest.mark.parametrize(
    ("rates", "ranks", "said"),
    [
        ((0.008, 0.008), (8, 16), True),
        ((0.008, 0.008), (8, None), True),
        ((0.008, 0.008), (8, 8), False),  # nothing is said of ranks
        ((0.008, 0.004), (8, 16), False),  # a warning says what differed
        ((None, None), (8, 16), False),
    ],
)
def test_the_learning_rate_at_which_it_holds_is_said(
    tmp_path: Path, rates: tuple[Any, Any], ranks: tuple[Any, Any], said: bool
) -> None:
    rows = [
        row(f"{place}", rank, lora_alpha=16.0 + place, settings={} if rate is None else {"learning_rate": rate})
        for place, (rank, rate) in enumerate(zip(ranks, rates, strict=True))
    ]
    found = of_rows(tmp_path, rows).recommendation
    assert found and found.text.endswith(HOLDS) == said
    assert ("This holds at" in found.text) == said


def test_a_tuned_sweep_holds_at_no_single_learning_rate() -> None:
    found = answer().recommendation
    assert found and "This holds" not in found.text


def test_the_warning_about_scales_names_the_learning_rate_and_no_cure_by_alpha(tmp_path: Path) -> None:
    rows = [row(f"r{rank}", rank, lora_alpha=32.0) for rank in (8, 16)]
    (found,) = of_rows(tmp_path, rows).differences
    assert found.kind == "confound"
    assert "Rank, scale (alpha/r) and learning_rate go together" in found.text
    assert "--tune learning_rate compares each rank at the rate that suits its scale" in found.text
    assert "proportional" not in found.text


def test_with_the_learning_rate_tuned_the_scale_is_no_warning() -> None:
    found = {one.name: one for one in answer().differences}
    assert found["scale alpha/r"].kind == "axis"
    assert found["scale alpha/r"].text.endswith("Each rank has the learning_rate that suits its scale.")
    assert "scale alpha/r" not in analysis.render(answer())
