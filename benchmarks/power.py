"""How often the right rank is picked: `python -m benchmarks.power` prints one JSON object, in minutes on one core.

Simulates sweeps of 2, 3, 4 and 6 ranks with 3, 5 and 10 seeds and 300, 1,000 and 4,000 held-out examples. The smallest
rank (of four or more ranks, the two smallest) is twice the margin above the best, and all others are equal: the right pick
is the smallest of these. There are two kinds of noise: `small` is a small fine-tuning run, in which a rank's loss on an
example varies by 3 % and examples are half of the noise; in `seeds`, nearly all of it is training noise. In both, a run
varies by 0.2 % with the seed.

For each cell: `decided`, a pick is shown to be within the margin; `right`, and it is the right one. Then the false claims,
each with a 95 % interval: `wrong_pick`, a pick beyond the margin is decided; `within_at_margin`, one of several ranks that
are all one margin above the best is called within it; `different_when_equal`, any two equal ranks are called different.
`advice` is how often following the advice once settles what was undecided.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from math import log1p
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from sweep.answer.answer import Suggestion
from tests.simulate import Design, advised, bounds, compared, losses, simulated

MARGIN = 0.005
RANKS, SEEDS, EXAMPLES = (2, 3, 4, 6), (3, 5, 10), (300, 1000, 4000)
NOISE = {
    "small": Design((), 3, seed_noise=0.003, training_noise=0.002, interaction=0.02, rest=0.02),
    "seeds": Design((), 3, seed_noise=0.003, training_noise=0.002, interaction=0.0025, rest=0.0025),
}


def worse(ranks: int) -> int:
    """How many of the ranks are beyond the margin."""
    return 1 if ranks < 4 else 2


def cell(noise: Design, ranks: int, sweeps: int) -> dict[str, Any]:
    """The shares of sweeps with each claim, right or false."""
    beyond = worse(ranks)
    apart, equal, near = simulated(
        noise,
        sweeps,
        np.random.default_rng([ranks, noise.seeds, noise.examples]),
        (log1p(2 * MARGIN),) * beyond + (0.0,) * (ranks - beyond),
        (0.0,) * ranks,
        (0.0,) + (log1p(MARGIN),) * (ranks - 1),
    )
    shown = apart.decided(MARGIN)
    decided, pick = np.asarray(shown.any(axis=1)), shown.argmax(axis=1)
    return {
        "decided": share(decided),
        "right": share(decided & (pick == beyond)),
        "wrong_pick": rate(decided & (pick < beyond)),
        "within_at_margin": rate(np.asarray(near.decided(MARGIN)[:, 1:].any(axis=1))),
        "different_when_equal": rate(np.asarray(equal.different().any(axis=(1, 2)))),
    }


def share(claims: npt.NDArray[np.bool_]) -> float:
    return round(float(claims.mean()), 3)


def rate(claims: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A rate of false claims and its exact binomial 95 % interval."""
    found = stats.binomtest(int(claims.sum()), len(claims)).proportion_ci(0.95)
    return {"rate": share(claims), "interval": [round(float(found.low), 3), round(float(found.high), 3)]}


def advice(noise: Design, ranks: int, sweeps: int) -> dict[str, Any]:
    """Follows the advice of undecided sweeps once, with the same truth, and counts how many are decided then."""
    effects = (log1p(2 * MARGIN),) * worse(ranks) + (0.0,) * (ranks - worse(ranks))
    most = replace(noise, effects=effects, seeds=noise.seeds + 30, examples=16 * noise.examples)
    rng = np.random.default_rng([ranks, noise.seeds])
    advised_kinds = {"examples": 0, "seeds": 0, "both": 0, "neither": 0}
    settled = []
    for _ in range(sweeps):
        sums, tokens = (one[0] for one in losses(most, 1, rng))
        now = compared(sums[:, : noise.seeds, : noise.examples], tokens[: noise.examples], MARGIN)
        if any(now.decided(index) for index in range(ranks)):
            continue
        suggestion = advised(now)
        present = np.zeros(sums.shape[:2], dtype=bool)
        present[:, : noise.seeds] = True
        if suggestion.seeds and not suggestion.either:
            named = [index for index, one in enumerate(now.groups) if one.label in suggestion.configurations]
            present[named, : noise.seeds + suggestion.seeds] = True
        advised_kinds[_kind(suggestion)] += 1
        examples = suggestion.examples or noise.examples
        then = bounds(sums[None, ..., :examples], tokens[None, :examples], present)
        settled.append(then.decided(MARGIN).any())
    return (
        {"undecided": len(settled), "asked_for": advised_kinds, "settled": rate(np.array(settled))} if settled else {}
    )


def _kind(suggestion: Suggestion) -> str:
    if suggestion.examples and (suggestion.either or not suggestion.seeds):
        return "examples"
    return ("both" if suggestion.examples else "seeds") if suggestion.seeds else "neither"


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.power")
    flags.add_argument("--sweeps", type=int, default=2000, help="simulated sweeps of each cell")
    flags.add_argument("--advised", type=int, default=200, help="simulated sweeps in which the advice is followed")
    for name, values in (("ranks", RANKS), ("seeds", SEEDS), ("examples", EXAMPLES)):
        flags.add_argument(f"--{name}", type=int, nargs="+", default=values)
    given = flags.parse_args(arguments)
    found: dict[str, Any] = {"benchmark": "power", "margin": MARGIN, "sweeps": given.sweeps}
    for name, noise in NOISE.items():
        found[name] = {
            f"{ranks} ranks": {
                f"{seeds} seeds": {
                    f"{examples} examples": cell(replace(noise, seeds=seeds, examples=examples), ranks, given.sweeps)
                    for examples in given.examples
                }
                for seeds in given.seeds
            }
            for ranks in given.ranks
        }
    found["advice"] = {
        name: advice(replace(noise, examples=min(given.examples)), max(3, min(given.ranks)), given.advised)
        for name, noise in NOISE.items()
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
