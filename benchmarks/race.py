"""`--tune learning_rate --race` against the full grid: `python -m benchmarks.race` prints one JSON object, in minutes.

Simulates sweeps of 6 ranks, 5 learning rates and at most 10 seeds, with the noise of tests/simulate.py: a run varies by
0.19 % with its seed, as in 66 published pairs of repeated runs, and a configuration varies over the held-out examples
(`examples`: as much as ten seeds do, `seeds`: little). As a function of the learning rate, a rank's loss is bowl-shaped; the
bottom is drawn at random for every sweep. Rates far above the best one diverge.

    clear_winner   one rank is best, all others are at least 3 % above it
    plateau        the two smallest ranks are beyond the margin, the others equal
    all_equal      all ranks are equal
    crossing       the best rate rises with the rank, so low rates favor small ranks, and high rates large ones
    heavy_tails    the plateau, with seeds whose noise is Student's t with 3 degrees of freedom
    at_the_margin  all but the largest rank are slightly beyond the margin, where wrong picks are most likely

The race runs the policies' own code with the answer's own bounds, in the same way as the runner. The full grid takes each
rank at the rate with the lowest mean and compares with the same bounds, corrected for that choice. For both:

    decided        a pick is shown to be within the margin
    right          it is, and it is the cheapest rank within the margin
    wrong          it is, and it is beyond the margin: a false claim
    hours_share    mean GPU-hours of the race over the full grid's
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.power import rate, share
from sweep.ladder import LORA_START, Ladder
from sweep.policies.policy import Result, decide
from sweep.policies.standing import ByBounds
from sweep.policies.tune import Tune
from sweep.policies.tune_then_seeds import TuneThenSeeds
from sweep.space import Rank, Trial
from sweep.statistics import stats
from sweep.statistics.choice import best_values, corrected, select
from sweep.statistics.examples import Examples, Shared
from sweep.statistics.stats import Floats
from tests.simulate import Design, Estimates, losses

MARGIN = 0.005
RANKS = (2, 4, 8, 16, 32, 64)
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
SEEDS = 10
HOURS = np.array([1 + 0.001 * rank for rank in RANKS])  # of a run: r=256 took 13 % longer than r=8 with opt-350m
STEEP = 0.008  # rise of the log loss one rate away from the bottom; published neighbors differ by 0.5 to 3 %
DIVERGES = 2.2  # how many rates above the bottom runs diverge
BASE = Design((), SEEDS, 300, seed_noise=0.003, training_noise=0.0019)
NOISE = {
    "examples": replace(BASE, interaction=0.007, rest=0.007),
    "seeds": replace(BASE, interaction=0.0025, rest=0.0025),
}


@dataclass(frozen=True)
class Shape:
    """A truth: each rank's log loss at its best rate, and how far the best rate moves from the smallest to the largest rank."""

    floors: tuple[float, ...]
    moves: float = 0.3
    heavy: bool = False


PLATEAU = (0.03, 0.01, 0.0, 0.0, 0.0, 0.0)
SHAPES = {
    "clear_winner": Shape((0.09, 0.06, 0.03, 0.0, 0.03, 0.04)),
    "plateau": Shape(PLATEAU),
    "all_equal": Shape((0.0,) * 6),
    "crossing": Shape(PLATEAU, moves=1.6),
    "heavy_tails": Shape(PLATEAU, heavy=True),
    "at_the_margin": Shape((math.log1p(1.05 * MARGIN),) * 5 + (0.0,)),
}


@dataclass(frozen=True)
class Truth:
    """True log losses (sweeps, ranks, rates), infinite where runs diverge."""

    effects: Floats

    @classmethod
    def of(cls, shape: Shape, sweeps: int, rng: np.random.Generator) -> "Truth":
        bottom = rng.uniform(1.7, 2.7, (sweeps, 1)) + shape.moves * np.linspace(-0.5, 0.5, len(RANKS))
        steps = np.arange(len(RATES)) - bottom[..., None]
        bowls = STEEP * (steps**2 - (steps**2).min(axis=-1, keepdims=True))  # each rank's best rate is on its floor
        return cls(np.where(steps > DIVERGES, np.inf, bowls + np.array(shape.floors)[:, None]))

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """Ranks (sweeps, ranks) that are within the margin at their best rate."""
        ranks = self.effects.min(axis=-1)
        found: npt.NDArray[np.bool_] = ranks <= ranks.min(axis=-1, keepdims=True) + math.log1p(MARGIN)
        return found


@dataclass(frozen=True)
class Picks:
    """One method's pick in each sweep, an index of a rank or −1 if undecided, and its GPU-hours."""

    places: npt.NDArray[np.int_]
    hours: Floats

    def summary(self, truth: Truth) -> dict[str, Any]:
        decided = self.places >= 0
        within = np.take_along_axis(truth.within, np.maximum(self.places, 0)[:, None], axis=1)[:, 0]
        return {
            "decided": share(decided),
            "right": rate(decided & (self.places == truth.within.argmax(axis=1))),
            "wrong": rate(decided & ~within),
        }


def full_grid(sums: Floats, tokens: Floats, truth: Truth) -> Picks:
    """Every rank, rate and seed; sums (sweeps, ranks, rates, seeds, examples)."""
    means = np.where(np.isinf(truth.effects)[..., None], np.inf, sums.sum(axis=-1))
    found = Estimates.of(select(sums, best_values(means)), tokens)
    above = stats.above_best(found.pairs, len(RANKS), corrected(len(RANKS), len(RANKS) * len(RATES)))
    shown = above.within(MARGIN) & ~found.uneven[:, None]
    hours = np.full(len(sums), HOURS.sum() * len(RATES) * SEEDS)
    return Picks(np.where(shown.any(axis=1), shown.argmax(axis=1), -1), hours)


def trial(rank: Rank, value: float, seed: int) -> Trial:
    """A trial with what policies use."""
    assert rank != "full", "LoRA alone"
    return Trial(f"r{rank}-{value:g}-s{seed}", rank, None, seed, {}, {}, "")


TRIALS = {
    trial(rank, value, seed).trial_id: (row, column, seed)
    for row, rank in enumerate(RANKS)
    for column, value in enumerate(RATES)
    for seed in range(SEEDS)
}


def raced(sums: Floats, tokens: Floats, effects: Floats) -> tuple[int, float]:
    """One sweep's pick and GPU-hours, running the policy until it is done. Sums (ranks, rates, seeds, examples)."""
    means = sums.sum(axis=-1) / tokens.sum()

    def shared(found: Any) -> Shared:
        return Shared(
            found, Examples({name: sums[TRIALS[name]] for name in found}, dict.fromkeys(found, tokens), len(tokens))
        )

    judge = ByBounds(MARGIN, shared)
    ladder = Ladder.of(LORA_START, RATES)
    policy = TuneThenSeeds(Tune("learning_rate", RANKS, ladder, ladder, trial, 0, MARGIN), tuple(range(SEEDS)), judge)
    results: list[Result] = []
    while not (wanted := decide(policy, results)).done:
        for one in wanted.trials:
            row, column, seed = TRIALS[one.trial.trial_id]
            status = "completed" if math.isfinite(effects[row, column]) else "diverged"
            results.append(Result(one.trial.trial_id, status, float(means[row, column, seed]), float(HOURS[row])))
    last = wanted.decisions[-2]
    pick = RANKS.index(last.rank) if last.numbers.get("decided") else -1
    return pick, sum(one.gpu_hours for one in results)


def race(sums: Floats, tokens: Floats, truth: Truth) -> Picks:
    """Races each sweep separately."""
    found = [raced(*one) for one in zip(sums, tokens, truth.effects, strict=True)]
    return Picks(np.array([pick for pick, _ in found]), np.array([hours for _, hours in found]))


def cell(shape: Shape, noise: Design, sweeps: int, rng: np.random.Generator) -> dict[str, Any]:
    """Both methods on the same sweeps, in chunks of a few million losses."""
    design = replace(noise, effects=(0.0,) * (len(RANKS) * len(RATES)), heavy=shape.heavy)
    truth = Truth.of(shape, sweeps, rng)
    ways: dict[str, list[Picks]] = {"race": [], "full_grid": []}
    most = max(1, int(5e6 / (len(design.effects) * design.seeds * design.examples)))
    for start in range(0, sweeps, most):
        part = Truth(truth.effects[start : start + most])
        flat, tokens = losses(design, len(part.effects), rng)
        sums = flat.reshape(len(flat), len(RANKS), len(RATES), *flat.shape[2:])
        sums *= np.exp(np.where(np.isinf(part.effects), 0.0, part.effects))[..., None, None]
        ways["race"].append(race(sums, tokens, part))
        ways["full_grid"].append(full_grid(sums, tokens, part))
    joined = {
        name: Picks(np.concatenate([one.places for one in parts]), np.concatenate([one.hours for one in parts]))
        for name, parts in ways.items()
    }
    hours = joined["race"].hours / joined["full_grid"].hours
    found: dict[str, Any] = {name: one.summary(truth) for name, one in joined.items()}
    return {"hours_share": round(float(hours.mean()), 3), "hours_share_most": round(float(hours.max()), 3), **found}


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.race")
    flags.add_argument("--sweeps", type=int, default=500, help="simulated sweeps of each shape and noise")
    flags.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    flags.add_argument("--noise", nargs="+", choices=NOISE, default=list(NOISE))
    flags.add_argument("--examples", type=int, default=BASE.examples, help="held-out examples")
    given = flags.parse_args(arguments)
    found: dict[str, Any] = {"benchmark": "race", "margin": MARGIN, "sweeps": given.sweeps}
    for name in given.noise:
        noise = replace(NOISE[name], examples=given.examples)
        found[name] = {
            shape: cell(SHAPES[shape], noise, given.sweeps, np.random.default_rng([place, given.examples]))
            for place, shape in enumerate(given.shapes)
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
