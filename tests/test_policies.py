"""What policies decide: from rows alone, whatever the order in which trials end, and whatever was begun early."""

import json
import random
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import ConfigError
from sweep.ladder import LORA_START, Ladder
from sweep.policies import explain
from sweep.policies.grid import Grid
from sweep.policies.policy import Decision, Done, Policy, Question, Result, Results, Step, decide
from sweep.policies.race import Arm, Place, Standing
from sweep.policies.tune import Tune
from sweep.policies.tune_then_seeds import TuneThenSeeds
from sweep.space import FULL, AlphaRule, Rank
from tests.asking import Ending, Runner, losses, one_after_the_other, trial

LADDER = Ladder((1e-4, 3e-4, 1e-3, 3e-3), 1)


def tune(ranks: Sequence[Rank] = (2, 8, 32), ladder: Ladder = LADDER, rule: AlphaRule = "fixed") -> Tune:
    return Tune("learning_rate", tuple(ranks), ladder, Ladder(LADDER.values, 0), trial, 0, 0.005, rule)


def tuned(one: Tune, seeds: Sequence[int] = (0,), race: bool = False) -> TuneThenSeeds:
    return TuneThenSeeds(one, tuple(seeds), by_means if race else None)


def by_means(arms: Sequence[Arm], results: Results, tried: int) -> Standing:
    """A judge without statistics: means decide with three seeds, and 2 % above the lowest is out."""
    losses = [[results[one.trial_id].comparable for one in arm.trials if one.trial_id in results] for arm in arms]
    means = [sum(one) / len(one) for one in losses]
    low = min(means)
    if low == float("inf"):
        return Standing((None,) * len(arms), None, False, ())
    nearest = tuple(sorted((place for place in range(len(arms)) if means[place] < float("inf")), key=means.__getitem__))
    places = tuple(
        Place("worse" if mean > 1.02 * low else "within", mean > 1.02 * low, {"lower": mean / low - 1})
        if mean < float("inf")
        else None
        for mean in means
    )
    pick = next(place for place in range(len(arms)) if (found := places[place]) and not found.out)
    return Standing(places, pick, len(losses[pick]) >= 3 and pick == nearest[0], nearest)


# --- the contract ----------------------------------------------------------------------------------------------------


def test_a_grid_wants_all_of_its_trials_in_order_and_is_done_whatever_becomes_of_them() -> None:
    trials = tuple(trial(rank, 1e-3, seed) for seed in (0, 1) for rank in (2, 8))
    first = decide(Grid(trials), [])
    assert [one.trial for one in first.trials] == list(trials)
    assert not first.done and first.at_most == 4
    rows = [Result(one.trial_id, status) for one, status in zip(trials, ("failed", "oom", "diverged"), strict=False)]
    assert [one.trial for one in decide(Grid(trials), rows).trials] == [trials[3]]
    last = decide(Grid(trials), [*rows, Result(trials[3].trial_id, "completed", 1.0)])
    assert last.done and not last.trials and last.decisions[-1].kind == "done"


@pytest.mark.parametrize("status", ["interrupted", "running", "not started"])
def test_a_trial_without_an_ending_stays_wanted(status: str) -> None:
    one = trial(2, 1e-3, 0)
    assert [request.trial for request in decide(Grid((one,)), [Result(one.trial_id, status)]).trials] == [one]


@pytest.mark.parametrize("status", ["oom", "rejected"])
def test_a_trial_that_can_be_shrunk_is_wanted_again_only_where_that_was_asked_for(status: str) -> None:
    one = trial(2, 1e-3, 0)
    row = Result(one.trial_id, status, shrinkable=True)
    assert decide(Grid((one,)), [row]).done
    (request,) = decide(Grid((one,)), [row], shrink=True).trials
    assert request.shrink and request.trial == one
    again = replace(row, shrunk=True)
    assert decide(Grid((one,)), [again], shrink=True).done, "it is shrunk once"
    assert decide(Grid((one,)), [replace(row, shrinkable=False)], shrink=True).done
    kinds = [found.kind for found in decide(Grid((one,)), [replace(again, status="completed", loss=1.0)]).decisions]
    assert kinds == ["shrunk", "done"]


def test_a_spent_budget_ends_a_policy_where_it_would_train_more() -> None:
    policy = Grid(tuple(trial(2, 1e-3, seed) for seed in range(3)))
    rows = [Result(one.trial_id, "completed", 1.0, 2.0) for one in policy.trials]
    assert not decide(policy, rows[:1], budget_gpu_hours=2.5).done
    spent = decide(policy, rows[:2], budget_gpu_hours=4.0)
    assert spent.done and spent.why == "4.00 of 4 GPU-hours are spent"
    assert "spent" not in decide(policy, rows, budget_gpu_hours=1.0).why, "what has ended decides as without a budget"


def test_policies_load_neither_torch_nor_ray_nor_anything_that_reads_files() -> None:
    heavy = ("torch", "ray", "pyarrow", "pandas", "scipy", "numpy")
    code = f"import sys, sweep.policies.tune_then_seeds, sweep.policies.explain; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# --- the walk --------------------------------------------------------------------------------------------------------


def walked(one: Tune, ending: Ending) -> tuple[list[str], dict[Rank | None, Decision]]:
    """The trials in order, and the last decision about each rank."""
    wanted, order = one_after_the_other(tuned(one), ending)
    return order, {found.rank: found for found in wanted.decisions}


def test_the_largest_rank_is_bracketed_and_smaller_ones_follow_while_within_the_margin() -> None:
    table = {(32, 1e-4): 1.10, (32, 3e-4): 1.05, (32, 1e-3): 1.0, (32, 3e-3): 1.01, (8, 1e-3): 1.004, (2, 1e-3): 1.08}
    order, last = walked(tune(), losses(table))
    assert order == ["32-0.0003-s0", "32-0.001-s0", "32-0.003-s0", "8-0.001-s0", "2-0.001-s0"]
    assert last[8].value == 1e-3
    assert last[2].kind == "out"


def test_a_start_that_is_the_best_gets_both_neighbors() -> None:
    order, _ = walked(tune([32]), losses({(32, 1e-4): 1.1, (32, 3e-4): 1.0, (32, 1e-3): 1.1}))
    assert order == ["32-0.0003-s0", "32-0.001-s0", "32-0.0001-s0"]


@pytest.mark.parametrize(
    ("rule", "next_one"), [("fixed", "8-0.0003-s0"), ("proportional", "8-0.003-s0"), ("rslora", "8-0.003-s0")]
)
def test_the_next_rate_is_on_the_side_where_the_alpha_rule_moves_the_best(rule: AlphaRule, next_one: str) -> None:
    table = {(32, 3e-4): 1.1, (32, 1e-3): 1.0, (32, 3e-3): 1.1, (8, 1e-3): 1.01, (8, 3e-4): 1.02, (8, 3e-3): 1.02}
    order, last = walked(tune([8, 32], rule=rule), losses(table))
    assert order[3:] == ["8-0.001-s0", next_one]
    assert last[8].kind == "out" and last[8].value == 1e-3


def test_a_better_next_rate_is_taken_and_the_one_after_it_tried_while_it_can_change_the_answer() -> None:
    table = {(32, 3e-4): 1.1, (32, 1e-3): 1.0, (32, 3e-3): 1.1, (8, 1e-3): 1.014, (8, 3e-4): 1.008, (8, 1e-4): 1.003}
    order, last = walked(tune([2, 8, 32]), losses(table | {(2, 1e-4): 1.2}))
    assert order[3:] == ["8-0.001-s0", "8-0.0003-s0", "8-0.0001-s0", "2-0.0001-s0"]
    assert last[8].value == 1e-4


@pytest.mark.parametrize(("loss", "tries"), [(1.0, 1), (1.0049, 1), (1.0149, 2), (1.016, 1)])
def test_the_next_rate_is_tried_only_where_it_can_change_the_answer(loss: float, tries: int) -> None:
    table = {(32, 3e-4): 1.1, (32, 1e-3): 1.0, (32, 3e-3): 1.1, (8, 1e-3): loss, (8, 3e-4): 1.2}
    order, _ = walked(tune([8, 32]), losses(table))
    assert len(order) == 3 + tries


@pytest.mark.parametrize("rule", ["fixed", "proportional"])
def test_a_rate_that_diverged_is_given_up_and_the_lower_one_tried(rule: AlphaRule) -> None:
    table = {(32, 3e-4): 1.01, (32, 1e-3): 1.0, (8, 3e-4): 1.0, (2, 3e-4): 1.0}
    order, last = walked(tune(rule=rule), losses(table))
    assert order == ["32-0.0003-s0", "32-0.001-s0", "32-0.003-s0", "8-0.001-s0", "8-0.0003-s0", "2-0.0003-s0"]
    assert last[8].value == 3e-4
    assert json.loads(json.dumps(last[8].numbers))["losses"]["0.001"] is None


def test_a_start_that_diverges_is_followed_by_lower_rates_until_one_trains() -> None:
    order, last = walked(tune([32], Ladder(LADDER.values, 3)), losses({(32, 3e-4): 1.0, (32, 1e-4): 1.1}))
    assert order == ["32-0.003-s0", "32-0.001-s0", "32-0.0003-s0", "32-0.0001-s0"]
    assert last[32].value == 3e-4


def test_a_rank_that_trains_at_no_rate_is_out_and_the_next_one_is_bracketed() -> None:
    table = {(8, 3e-4): 1.0, (8, 1e-3): 1.1, (8, 1e-4): 1.1}
    order, last = walked(tune([8, 32]), losses(table))
    assert order == ["32-0.0003-s0", "32-0.0001-s0", "8-0.0003-s0", "8-0.001-s0", "8-0.0001-s0"]
    assert last[32].kind == "out" and "no value" in last[32].text


@pytest.mark.parametrize(("status", "said"), [("oom", "ran out of memory"), ("rejected", "memory fits no card")])
def test_a_rank_that_does_not_fit_is_given_up_at_its_first_rate(status: str, said: str) -> None:
    table: dict[Any, float | str] = {(32, 3e-4): status, (8, 3e-4): 1.0}
    order, last = walked(tune([8, 32]), losses(table))
    assert order[:2] == ["32-0.0003-s0", "8-0.0003-s0"]
    assert said in last[32].text


@pytest.mark.parametrize(("value", "edge"), [(1e-4, "lowest"), (3e-3, "highest"), (1e-3, None)])
def test_a_best_rate_at_the_ladders_end_is_recorded(value: float, edge: str | None) -> None:
    table = {
        (32, rate): 1.0 + 0.1 * abs(LADDER.values.index(value) - place) for place, rate in enumerate(LADDER.values)
    }
    _, last = walked(tune([32]), losses(table))
    assert last[32].value == value and last[32].numbers["edge"] == edge
    assert (f"the {edge} of the ladder" in last[32].text) == (edge is not None)


def test_full_fine_tuning_has_a_bracket_of_its_own_and_smaller_ranks_follow_lora() -> None:
    table = {(FULL, 1e-4): 1.0, (FULL, 3e-4): 1.1, (32, 3e-4): 1.0, (32, 1e-3): 1.1, (32, 1e-4): 1.1, (8, 3e-4): 1.0}
    order, _ = walked(tune([8, FULL, 32]), losses(table))
    assert order == ["full-0.0001-s0", "full-0.0003-s0", "32-0.0003-s0", "32-0.001-s0", "32-0.0001-s0", "8-0.0003-s0"]


def test_one_unlucky_run_does_not_end_the_walk_where_more_seeds_judge() -> None:
    table = {(32, 3e-4): 1.0, (32, 1e-3): 1.1, (32, 1e-4): 1.1, (8, 3e-4): 1.008, (8, 1e-4): 1.2, (2, 3e-4): 1.0}
    assert "2-0.0003-s0" not in one_after_the_other(tuned(tune()), losses(table))[1]
    assert "2-0.0003-s0" in one_after_the_other(tuned(tune(), (0, 1)), losses(table))[1]


def test_without_a_race_every_seed_of_each_rank_is_trained_at_its_best_rate() -> None:
    table = {(32, 3e-4): 1.0, (32, 1e-3): 1.1, (32, 1e-4): 1.1, (8, 3e-4): 1.0}
    _, order = one_after_the_other(tuned(tune([8, 32]), (0, 1, 2)), losses(table))
    assert order[-4:] == ["8-0.0003-s1", "32-0.0003-s1", "8-0.0003-s2", "32-0.0003-s2"]


def test_free_slots_get_the_neighbors_and_the_next_ranks() -> None:
    first = decide(tuned(tune()), [])
    assert [one.trial.trial_id for one in first.trials] == ["32-0.0003-s0"]
    names = [one.trial.trial_id for one in first.likely]
    assert names == ["32-0.001-s0", "32-0.0001-s0", "8-0.0003-s0", "2-0.0003-s0"]


@pytest.mark.parametrize(
    ("start", "values", "found"),
    [
        (LORA_START, (), (1e-4, 3e-4, 1e-3)),
        (2e-3, (), (6e-4, 2e-3, 6e-3)),
        (LORA_START / 10, (), (1e-5, 3e-5, 1e-4)),
        (3e-4, (4e-4, 1e-4, 2e-4, 4e-4), (2e-4, 4e-4)),
        (0.0, (0.2, 0.1, 0.0, -0.1), (-0.1, 0.0, 0.1)),
    ],
)
def test_a_ladder_goes_through_the_start_or_the_nearest_of_the_given_values(
    start: float, values: tuple[float, ...], found: tuple[float, ...]
) -> None:
    ladder = Ladder.of(start, values)
    assert ladder.values[ladder.start - 1 : ladder.start + 2] == pytest.approx(found)
    assert list(ladder.values) == sorted(ladder.values)


def test_a_ladder_without_values_needs_a_start_above_zero() -> None:
    with pytest.raises(ConfigError, match=r"got 0\. Name them all with --ladder"):
        Ladder.of(0.0)


def test_another_setting_than_the_learning_rate_is_tried_on_both_sides() -> None:
    table = {(32, 3e-4): 1.1, (32, 1e-3): 1.0, (32, 3e-3): 1.1, (8, 1e-3): 1.01, (8, 3e-4): 1.02, (8, 3e-3): 1.02}
    order, _ = walked(replace(tune([8, 32]), key="weight_decay"), losses(table))
    assert order[3:] == ["8-0.001-s0", "8-0.0003-s0", "8-0.003-s0"]


# --- from the rows alone ---------------------------------------------------------------------------------------------

STATUSES = st.one_of(st.floats(1.0, 1.1), st.sampled_from(["diverged", "oom", "rejected", "failed"]))
PAIRS = [(rank, rate) for rank in (FULL, 32, 8, 2) for rate in LADDER.values]
TABLES = st.lists(STATUSES, max_size=len(PAIRS)).map(lambda found: dict(zip(PAIRS, found, strict=False)))


def contradicted(policy: Policy, ending: Ending, slots: int, chance: random.Random, shrink: bool) -> list[str]:
    """Where a driver decides otherwise than one with a single slot and no mishaps."""
    wanted, trained = one_after_the_other(policy, ending, shrink)
    runner = Runner(policy, ending, slots, chance, shrink)
    last = runner.run()
    expected = explain.rows(wanted.decisions)
    found = [] if (last.why, last.at_most) == (wanted.why, wanted.at_most) else [f"{last.why}, not {wanted.why}"]
    found += explain.contradictions(expected, last)
    for seen in runner.seen:
        if explain.rows(seen.decisions) != expected[: len(seen.decisions)]:
            found.append(f"decided {[one.text for one in seen.decisions]} on the way")
        if not seen.done and not seen.trials:
            found.append("nothing wanted and not done")
    most = [seen.at_most for seen in runner.seen]
    if most != sorted(most, reverse=True):
        found.append(f"at most {most} trials, one time after the other")
    if slots == 1 and len(runner.rows) != len({name.removesuffix("-shrunk") for name in trained}):
        found.append("one slot trained what it did not need")
    return found


@given(
    table=TABLES,
    slots=st.integers(1, 6),
    chance=st.integers(0, 10_000).map(random.Random),
    race=st.booleans(),
    shrink=st.booleans(),
    rule=st.sampled_from(["fixed", "proportional"]),
)
@settings(max_examples=150, deadline=None)
def test_decisions_depend_on_the_rows_alone(
    table: dict[Any, Any], slots: int, chance: random.Random, race: bool, shrink: bool, rule: AlphaRule
) -> None:
    """Whatever the order in which trials end, crash or are retried, and whatever was begun early."""
    policy = tuned(tune((FULL, 2, 8, 32), rule=rule), range(5), race)
    ending = losses(table, {seed: 0.004 * seed for seed in range(5)})
    assert contradicted(policy, ending, slots, chance, shrink) == []


def test_a_trial_that_was_begun_early_and_counts_before_it_is_wanted_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {(32, 3e-4): 1.0, (32, 1e-3): 1.1, (32, 1e-4): 1.1, (8, 3e-4): 1.002, (2, 3e-4): 1.004}
    policy, ending = tuned(tune(), range(5), race=True), losses(table, {1: 0.03, 2: 0.03, 3: 0.01, 4: 0.0})

    def found() -> list[str]:
        return [one for seed in range(10) for one in contradicted(policy, ending, 4, random.Random(seed), False)]

    assert found() == []
    monkeypatch.setattr("sweep.policies.policy._answer", lambda trials, rows: dict(rows))
    assert found()


@dataclass(frozen=True)
class Hasty:
    """A policy that breaks the contract: it takes the first of two ranks that it finds a row of, wanted or not."""

    rows: list[str]

    def steps(self) -> Generator[Step, Results | None, None]:
        trials = tuple(trial(rank, 1e-3, 0) for rank in (2, 8))
        yield Question(trials)
        yield Decision("best", f"{self.rows[0]} was first")
        yield Done("took the first")


def test_a_policy_that_looks_at_the_order_of_arrival_is_noticed() -> None:
    def ending(one: Any) -> Result:
        rows.append(one.trial_id)
        return Result(one.trial_id, "completed", 1.0)

    rows: list[str] = []
    policy, found = Hasty(rows), []
    for seed in range(20):
        rows.clear()
        wanted = one_after_the_other(policy, ending)[0]
        rows.clear()
        last = Runner(policy, ending, 2, random.Random(seed)).run()
        found += explain.contradictions(explain.rows(wanted.decisions), last)
    assert found


# --- decisions as rows -----------------------------------------------------------------------------------------------


def test_decisions_are_rows_that_the_same_rows_of_trials_give_again() -> None:
    table = {(32, 3e-4): 1.0, (32, 1e-3): 1.1, (32, 1e-4): 1.1, (8, 3e-4): 1.0, (2, 3e-4): 1.3}
    policy, ending = tuned(tune(), range(5), race=True), losses(table)
    runner = Runner(policy, ending, 1, random.Random(1))
    last = runner.run()
    recorded = explain.rows(last.decisions)
    assert [row["sequence"] for row in recorded] == list(range(len(recorded)))
    assert all(isinstance(json.loads(row["numbers"]), dict) for row in recorded)
    assert explain.contradictions(recorded, decide(policy, runner.rows.values())) == []
    assert explain.contradictions(recorded[:3], last) == [], "a sweep that went on decided more"
    text = explain.explain(recorded)
    assert "r=32: learning_rate 0.0003 is its best" in text and "gets no more seeds" in text
    changed = [{**recorded[0], "value": 1.0}, *recorded[1:]]
    assert len(explain.contradictions(changed, last)) == 1
    runner.rows.pop("32-0.0001-s0")
    assert explain.contradictions(recorded, decide(policy, runner.rows.values())), "a row that is gone is missed"
