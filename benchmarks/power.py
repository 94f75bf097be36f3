"""How often a real difference is seen: `python -m benchmarks.power` prints one JSON object for 3, 5 and 10 seeds.

Simulated sweeps of two ranks, one twice the margin worse than the other, or both equal. The noises are those of a small
fine-tuning: a training run's held-out loss varies by 0.2 % with the seed, a rank's loss on an example by 4 %.
"""

import json
from math import log1p

import numpy as np

from sweep.compare import Compared
from tests.simulate import Design, compared, losses

MARGIN, SWEEPS, EXAMPLES = 0.005, 1000, 1000
NOISE = {"seed_noise": 0.003, "training_noise": 0.002, "interaction": 0.02, "rest": 0.02}


def power(seeds: int) -> dict[str, float]:
    """Shares of sweeps with each claim, at a difference of twice the margin and at none."""
    apart, equal = _sweeps(2 * MARGIN, seeds), _sweeps(0.0, seeds)
    return {
        "called_different_at_twice_the_margin": _share([one.comparison(1).different for one in apart]),
        "called_beyond_the_margin_at_twice_the_margin": _share([one.verdict(1) == "worse" for one in apart]),
        "called_within_the_margin_when_equal": _share([one.verdict(1) == "within" for one in equal]),
        "wrongly_called_within_the_margin_at_the_margin": _share(
            [one.verdict(1) == "within" for one in _sweeps(MARGIN, seeds)]
        ),
    }


def _sweeps(difference: float, seeds: int) -> list[Compared]:
    rng = np.random.default_rng(seeds)
    design = Design((0.0, log1p(difference)), seeds, EXAMPLES, **NOISE)
    found = []
    for _ in range(SWEEPS):
        sums, tokens = losses(design, 1, rng)
        found.append(compared(sums[0], tokens[0], MARGIN))
    return found


def _share(claims: list[bool]) -> float:
    return round(float(np.mean(claims)), 3)


def main() -> None:
    settings = {"margin": MARGIN, "sweeps": SWEEPS, "examples": EXAMPLES, **NOISE}
    print(json.dumps({**settings, "power": {str(seeds): power(seeds) for seeds in (3, 5, 10)}}, indent=2))


if __name__ == "__main__":
    main()
