"""Time from one trial's end to the next one's first step in the same slot: in a reused process, a fresh one, a bare loop.

    python -m benchmarks.next_trial [--trials 6] [--repetitions 3]

Uses the demo's model and data, one thread, and few steps per trial. `ours` and `fresh` are the same sweep with Ray Tune's
`reuse_actors` on and off, timed by their rows. The bare loop builds one trainer after the other on the same tokens,
in one warm process. About 5 minutes on two cores.
"""

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any
from unittest import mock

from benchmarks import bare
from benchmarks.common import median, own_ray, show, spread, sweep

WANTED = {"ratio": 0.15, "seconds_over_bare_loop": 0.5}
STEPS = 3


def gaps(ranks: Sequence[str], reuse: bool) -> list[float]:
    """Seconds from each trial's end to the next one's first step."""
    from ray import tune

    real = tune.TuneConfig

    def chosen(**settings: Any) -> Any:
        return real(**{**settings, "reuse_actors": reuse})

    words = ["--preset", "demo", "--max_steps", str(STEPS), "--seeds", "0", "--lora_r", *ranks]
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(tune, "TuneConfig", chosen):
        store = sweep(folder, *words, "--max_concurrent_trials", "1")
        rows = sorted(store.trials().to_pylist(), key=lambda row: row["started_at"])
        firsts = {row["trial_id"]: row for row in store.steps().to_pylist() if row["step"] == 1}
    assert [row["process_reused"] for row in rows] == [False] + [reuse] * (len(rows) - 1)
    begins = [firsts[row["trial_id"]]["timestamp"].timestamp() - firsts[row["trial_id"]]["step_time_s"] for row in rows]
    return [begin - row["ended_at"].timestamp() for begin, row in zip(begins[1:], rows[:-1], strict=True)]


def bare_gaps(ranks: Sequence[str]) -> list[float]:
    """Seconds to the first step of each trial except the first, which also warms up the process."""
    found = bare.run(["--lora_r", *ranks, "--seeds", "0", "--max_steps", str(STEPS), "--ready"])
    return [trial["to_first_step"] for trial in found[1:]]


def measure(trials: int, repetitions: int) -> dict[str, Any]:
    ranks = [str(2 + number) for number in range(trials)]
    sides: dict[str, list[float]] = {"ours": [], "fresh": [], "bare": []}
    with own_ray(1):
        for _ in range(repetitions):
            sides["ours"] += gaps(ranks, True)
            sides["fresh"] += gaps(ranks, False)
            sides["bare"] += bare_gaps(ranks)
    medians = {side: median(values) for side, values in sides.items()}
    return {
        "trials": trials,
        "gaps_measured": {side: len(values) for side, values in sides.items()},
        "seconds": medians,
        "seconds_range": {side: spread(values) for side, values in sides.items()},
        "ratio": median([medians["ours"] / medians["fresh"]]),
        "seconds_over_bare_loop": median([medians["ours"] - medians["bare"]]),
        "wanted": WANTED,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args(argv)
    show("next_trial", measure(given.trials, given.repetitions))


if __name__ == "__main__":
    main()
