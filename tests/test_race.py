"""The race: seeds where they can still change the answer, judged as the answer judges."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep import analysis, space
from sweep.policies.policy import Result, Wanted, decide
from sweep.policies.race import Arm, Place, Race, Standing, settled
from sweep.policies.standing import ByBounds
from sweep.space import Trial
from sweep.statistics.examples import Examples, Shared
from sweep.statistics.stats import Floats
from sweep.store.store import Store
from tests.simulate import Design, losses, rank, trial_id, write

MARGIN = 0.005
QUIET = Design((), 10, 200, seed_noise=0.003, training_noise=0.001, interaction=0.001, rest=0.001)


def arms(count: int, seeds: int = 10) -> tuple[Arm, ...]:
    """Configurations as tests/simulate.py names them, cheapest first."""
    return tuple(
        Arm(
            f"r={rank(k)}",
            rank(k),
            tuple(Trial(trial_id(k, seed), rank(k), None, seed, {}, {}, "") for seed in range(seeds)),
        )
        for k in range(count)
    )


def drawn(effects: Sequence[float], design: Design = QUIET, seed: int = 0) -> tuple[Floats, Floats]:
    """One sweep's sums (configurations, seeds, examples) and tokens."""
    sums, tokens = losses(replace(design, effects=tuple(effects)), 1, np.random.default_rng(seed))
    return sums[0], tokens[0]


def judge(sums: Floats, tokens: Floats) -> ByBounds:
    places = {trial_id(k, seed): (k, seed) for k in range(sums.shape[0]) for seed in range(sums.shape[1])}

    def shared(found: Mapping[str, float]) -> Shared:
        examples = Examples({name: sums[places[name]] for name in found}, dict.fromkeys(found, tokens), len(tokens))
        return Shared(found, examples)

    return ByBounds(MARGIN, shared)


def results(sums: Floats, tokens: Floats, without: Sequence[str] = ()) -> dict[str, Result]:
    """Every trial's row; those named diverged."""
    found = {}
    for k, seed in np.ndindex(*sums.shape[:2]):
        name, loss = trial_id(k, seed), float(sums[k, seed].sum() / tokens.sum())
        found[name] = Result(name, "diverged") if name in without else Result(name, "completed", loss)
    return found


def raced(sums: Floats, tokens: Floats, without: Sequence[str] = ()) -> tuple[Wanted, dict[str, int]]:
    """The race's end, and how many seeds each configuration got."""
    policy, every = Race(arms(len(sums), sums.shape[1]), judge(sums, tokens)), results(sums, tokens, without)
    rows: dict[str, Result] = {}
    while not (wanted := decide(policy, rows.values())).done:
        rows.update({one.trial.trial_id: every[one.trial.trial_id] for one in wanted.trials})
    return wanted, {arm.label: sum(one.trial_id in rows for one in arm.trials) for arm in policy.arms}


def test_ranks_far_off_leave_after_one_seed_and_the_race_ends_once_the_pick_is_shown() -> None:
    wanted, seeds = raced(*drawn((0.06, 0.0, 0.05)))
    assert wanted.why == "decided with 3 seeds: r=8 is within the margin"
    assert seeds == {"r=4": 1, "r=8": 3, "r=16": 3}, "the nearest other one stays: a claim compares two"
    left = [one for one in wanted.decisions if one.kind == "left"]
    assert [one.rank for one in left] == [4]
    assert left[0].numbers["lower"] > 0.02


def test_a_rank_beyond_the_margin_leaves_with_three_seeds() -> None:
    wanted, seeds = raced(*drawn((0.012, 0.004, 0.0)))
    assert seeds["r=4"] == 3 and seeds["r=8"] > 3
    (left,) = (one for one in wanted.decisions if one.kind == "left")
    assert left.rank == 4 and left.numbers["verdict"] == "worse" and left.numbers["basis"] == "seeds"


def test_the_race_goes_on_while_a_cheaper_rank_may_still_take_the_picks_place() -> None:
    """At the first look that shows any rank to be within the margin, it is the right one in a third of sweeps only."""
    found = []
    for seed in range(12):
        wanted, _ = raced(*drawn((0.01, 0.003, 0.0, 0.0), replace(QUIET, training_noise=0.002), seed))
        looks = [one for one in wanted.decisions if one.kind == "look"]
        first = next((one for one in looks if one.numbers["decided"]), looks[-1])
        found.append((first.rank, looks[-1].rank))
    assert sum(last == 8 for _, last in found) > sum(first == 8 for first, _ in found)
    assert all(last != 4 for _, last in found)


@pytest.mark.parametrize(
    ("verdicts", "pick", "decided", "ends"),
    [
        ((None, "within"), 1, True, True),
        (("undecided", "within"), 1, True, False),
        (("worse", "within"), 1, True, True),
        (("within", "undecided"), 0, True, True),
        (("within", "undecided"), 0, False, False),
    ],
)
def test_settled_means_decided_and_nothing_cheaper_open(
    verdicts: Sequence[str | None], pick: int, decided: bool, ends: bool
) -> None:
    places = tuple(None if one is None else Place(one, one == "worse", {}) for one in verdicts)  # type: ignore[arg-type]
    assert settled(Standing(places, pick, decided, (0, 1))) == ends


def test_a_race_without_a_winner_ends_at_the_last_seed() -> None:
    wanted, seeds = raced(*drawn((0.0, 0.0), replace(QUIET, training_noise=0.02)))
    assert wanted.why == "undecided with 10 seeds, the most there may be"
    assert set(seeds.values()) == {10} and wanted.at_most == 20


def test_a_rank_whose_seed_diverged_is_never_decided() -> None:
    sums, tokens = drawn((0.0, 0.0))
    wanted, _ = raced(sums, tokens, without=[trial_id(0, 1)])
    last = next(one for one in reversed(wanted.decisions) if one.kind == "look")
    assert not (last.rank == rank(0) and last.numbers["decided"])


def test_a_grids_configurations_race_with_their_seeds_in_order() -> None:
    trials = space.trials({"learning_rate": 1e-3}, [2, 8, "full"], [4, 0], {"lora_dropout": [0.0, 0.1]}, "fixed")
    found = Race.of(trials, judge(*drawn((0.0, 0.0)))).arms
    names = [f"r={rank} lora_dropout={share}" for rank in (2, 8) for share in (0.0, 0.1)]
    assert [arm.label for arm in found] == [*names, "full lora_dropout=None"]
    assert all([trial.seed for trial in arm.trials] == [4, 0] for arm in found)
    assert {trial.trial_id for arm in found for trial in arm.trials} == {trial.trial_id for trial in trials}


def test_a_race_in_which_nothing_has_a_loss_ends() -> None:
    sums, tokens = drawn((0.0, 0.0))
    wanted, seeds = raced(sums, tokens, [trial_id(k, seed) for k in range(2) for seed in range(10)])
    assert wanted.done and max(seeds.values()) <= 1 and "no configuration has a loss" in wanted.why


@pytest.mark.parametrize("times", [1.0, 3.0], ids=["sound", "a-run-far-off-its-siblings"])
def test_the_race_stands_as_the_answer_says(times: float, tmp_path: Path) -> None:
    sums, tokens = drawn((0.012, 0.003, 0.0), seed=3)
    sums = sums[:, :4].copy()
    sums[2, 1] *= times
    store = Store(str(tmp_path))
    write(store, sums, tokens)
    answer = analysis.answer(analysis.load(store.location), margin=MARGIN)
    standing = judge(sums, tokens)(arms(3, 4), results(sums, tokens), 0)
    assert answer.recommendation and standing.pick is not None
    assert arms(3)[standing.pick].label == answer.recommendation.label
    assert standing.decided == answer.recommendation.decided
    for place, one in zip(standing.places, answer.configurations, strict=True):
        assert place and one.comparison
        assert place.verdict == one.comparison.verdict
        for name in ("lower", "upper", "difference"):
            assert place.numbers[name] == pytest.approx(getattr(one.comparison, name), rel=1e-9)


def test_bounds_are_wider_for_arms_that_were_chosen_of_many() -> None:
    sums, tokens = drawn((0.0, 0.0))
    plain, chosen = (judge(sums, tokens)(arms(2), results(sums, tokens), tried) for tried in (0, 10))
    for one, other in zip(plain.places, chosen.places, strict=True):
        assert one and other and other.numbers["upper"] > one.numbers["upper"]
        assert math.isfinite(other.numbers["upper"])
