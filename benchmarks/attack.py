"""Noise that the bounds are not designed for: `python -m benchmarks.attack` prints one JSON object, in minutes on one core.

Simulates equal ranks, and ranks that are all one margin above the best, in sweeps with duplicated or clustered held-out
examples, with diverged runs, with one bad run in ten, with one rank whose seeds spread eight times as much, and without the
losses of single examples. Prints how often any two equal ranks are called different, and how often a rank at the margin is
decided to be within it, each with a 95 % interval; a true rate of exactly 5 % stays below `allowed` in 99 of 100 runs.
`unguarded` is the first of these rates without the guard against the attack: duplicates and clusters counted as examples,
bad runs averaged in, seeds alone.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log1p
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.power import MARGIN, rate, share
from sweep.answer.compare import Compared
from sweep.statistics.stats import Floats, quantile
from tests.simulate import Design, Estimates, compared, losses, simulated

LEVEL = 0.05
BASE = Design((), 3, 200, training_noise=0.0005, interaction=0.01, rest=0.01)
TRAINED = Design((), 3, 200, training_noise=0.002, interaction=0.0025, rest=0.0025)

Claims = dict[str, Any]


def truths(ranks: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Effects of equal ranks, and of ranks that are all one margin above the first."""
    return (0.0,) * ranks, (0.0, *(log1p(MARGIN),) * (ranks - 1))


# --- many sweeps at once -----------------------------------------------------------------------------------------------


def unequal_spread(ranks: int, sweeps: int) -> Claims:
    """One rank's seeds spread eight times as much."""
    design = replace(TRAINED, spreads=(*(1.0,) * (ranks - 1), 8.0))
    equal, near = simulated(design, sweeps, np.random.default_rng(ranks), *truths(ranks))
    return {
        "different_when_equal": rate(equal.different().any(axis=(1, 2))),
        "decided_at_margin": rate(near.decided(MARGIN)[:, 1:].any(axis=1)),
        "said_to_be_unequal": share(equal.uneven),
        "unguarded": rate(equal.above.different().any(axis=(1, 2))),
    }


# --- one sweep at a time, with the answer's own code --------------------------------------------------------------------


def duplicates(ranks: int, sweeps: int) -> Claims:
    """Every example three times, recognizable by the hash of its tokens."""
    hashes = np.repeat([f"hash {index}" for index in range(BASE.examples)], 3)
    return one_by_one(BASE, ranks, sweeps, lambda one, rng: replace(one, times=3, columns={"content_hash": hashes}))


def clusters(ranks: int, sweeps: int) -> Claims:
    """Five examples of each problem that share their hardness and the rank's effect, and a column that names the problem."""
    names = np.repeat([f"problem {index}" for index in range(BASE.examples // 5)], 5)
    design = replace(BASE, cluster=5)
    return one_by_one(design, ranks, sweeps, lambda one, rng: replace(one, columns={"group": names}))


def diverged(ranks: int, sweeps: int) -> Claims:
    """One run in five ends without a finite loss; five seeds."""
    return one_by_one(
        replace(TRAINED, seeds=5),
        ranks,
        sweeps,
        lambda one, rng: replace(one, diverged=rng.random(one.sums.shape[:2]) < 0.2),
        None,
    )


def bad_run_in_ten(ranks: int, sweeps: int) -> Claims:
    """One run in ten ends with a loss up to ten times as high; five seeds."""

    def spoiled(one: Sweep, rng: np.random.Generator) -> Sweep:
        bad = rng.random(one.sums.shape[:2]) < 0.1
        times = np.where(bad, np.exp(rng.uniform(0, np.log(10), bad.shape)), 1.0)
        return replace(one, sums=one.sums * times[..., None])

    return one_by_one(replace(TRAINED, seeds=5), ranks, sweeps, spoiled)


def no_examples(ranks: int, sweeps: int) -> Claims:
    """A table with one held-out loss for each of five seeds: no claims are made, where t intervals over seeds would make some."""
    return one_by_one(replace(BASE, seeds=5), ranks, sweeps, lambda one, rng: replace(one, columns=None), seeds_alone)


@dataclass(frozen=True)
class Sweep:
    """One sweep: sums (configurations, seeds, examples), tokens (examples), and its flaws."""

    sums: Floats
    tokens: Floats
    times: int = 1
    diverged: npt.NDArray[np.bool_] | None = None
    columns: Mapping[str, Any] | None = field(default_factory=dict)

    def compared(self, effects: Sequence[float]) -> Compared:
        sums = np.repeat(self.sums * np.exp(np.array(effects))[:, None, None], self.times, axis=-1)
        return compared(sums, np.repeat(self.tokens, self.times), MARGIN, self.diverged, self.columns)


def examples_alone(one: Sweep) -> bool:
    """Whether ranks are called different if all examples and all finished runs count."""
    found = Estimates.of(np.repeat(one.sums, one.times, axis=-1)[None], np.repeat(one.tokens, one.times)[None])
    return bool(found.bounds().above.different().any())


def seeds_alone(one: Sweep) -> bool:
    """Whether ranks are called different by t intervals over seeds, corrected for the number of pairs."""
    logs = np.log(one.sums.sum(axis=-1))
    ranks, seeds = logs.shape
    ratios = logs[:, None] - logs[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(ratios.mean(axis=-1)) / (ratios.std(axis=-1, ddof=1) / np.sqrt(seeds))
    return bool(np.nanmax(t) > quantile(LEVEL / (ranks * (ranks - 1)), seeds - 1))


def one_by_one(
    design: Design,
    ranks: int,
    sweeps: int,
    spoil: Callable[[Sweep, np.random.Generator], Sweep],
    unguarded: Callable[[Sweep], bool] | None = examples_alone,
) -> Claims:
    rng = np.random.default_rng(ranks)
    claimed: dict[str, list[bool]] = {"different_when_equal": [], "decided_at_margin": [], "unguarded": []}
    for _ in range(sweeps):
        sums, tokens = (one[0] for one in losses(replace(design, effects=(0.0,) * ranks), 1, rng))
        one = spoil(Sweep(sums, tokens), rng)
        equal, near = (one.compared(effects) for effects in truths(ranks))
        claimed["different_when_equal"].append(_called_different(equal))
        claimed["decided_at_margin"].append(any(near.decided(index) for index in range(1, len(near.groups))))
        if unguarded:
            claimed["unguarded"].append(unguarded(one))
    return {name: rate(np.array(values)) for name, values in claimed.items() if values}


def _called_different(found: Compared) -> bool:
    return any(found.comparison(index).different for index in range(len(found.groups)))


ATTACKS = (duplicates, clusters, diverged, bad_run_in_ten, unequal_spread, no_examples)


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.attack")
    flags.add_argument("--sweeps", type=int, default=1000, help="simulated sweeps of each attack")
    flags.add_argument("--ranks", type=int, nargs="+", default=(2, 4))
    given = flags.parse_args(arguments)
    allowed = round(float(stats.binom.isf(0.01, given.sweeps, LEVEL)) / given.sweeps, 3)
    found = {
        attack.__name__: {f"{ranks} ranks": attack(ranks, given.sweeps) for ranks in given.ranks} for attack in ATTACKS
    }
    rates = [
        one[name]["rate"]
        for attack in found.values()
        for one in attack.values()
        for name in ("different_when_equal", "decided_at_margin")
    ]
    head = {"benchmark": "attack", "margin": MARGIN, "sweeps": given.sweeps, "allowed": allowed}
    print(json.dumps({**head, "highest_rate": max(rates), **found}, indent=2))


if __name__ == "__main__":
    main()
