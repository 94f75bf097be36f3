"""`--tune learning_rate --race` on the demo against the full grid of ranks, rates and seeds, with real training.

    python -m benchmarks.tuned_demo [--folder results/tuned-demo] [--seeds 0 1 2] [--max_seeds 10] [--max_steps 60 ...]

Both sweeps are kept in the folder: run the same command to resume them. Other flags are passed to both. About 20 minutes on
two quiet cores.

    race, grid     the rank and rate that each picks, and its number of trials; for the race, those requested and those started
    same_pick      whether both pick the same rank
    trials_share   trials that the race started, over the grid's
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.common import show
from sweep import analysis, grid
from sweep.store.loading import Sweep

RATES = ("8e-4", "2.4e-3", "8e-3", "2.4e-2", "8e-2")  # the preset's rate, and two in each direction
KEY = "learning_rate"
WANTED = 0.5


def swept(folder: str, name: str, *words: str) -> Sweep:
    """Runs what is missing of a demo sweep. Rates that diverge are not a failure here."""
    code = grid.main(["--preset", "demo", "--storage_path", folder, "--name", name, *words])
    if code not in (grid.OK, grid.SOME_FAILED):
        raise SystemExit(code)
    return analysis.load(f"{folder}/{name}")


def pick(sweep: Sweep) -> dict[str, Any]:
    """What the answer recommends, each rank at its best rate."""
    sweep.config["tune"] = {"key": KEY, "ladder": [float(rate) for rate in RATES]}
    found = analysis.answer(sweep)
    assert found.recommendation is not None
    chosen = found.configuration(found.recommendation.label)
    return {"lora_r": chosen.lora_r, KEY: chosen.axes[KEY], "trials": len(sweep.records())}


def measure(folder: str, seeds: Sequence[str], max_seeds: str, both: Sequence[str]) -> dict[str, Any]:
    race = swept(folder, "race", "--tune", KEY, "--ladder", *RATES, "--race", "--max_seeds", max_seeds, *both)
    begun = len(race.trials)
    full = swept(folder, "grid", "--grid", f"{KEY}={','.join(RATES)}", "--seeds", *seeds, *both)
    found = {"race": {**pick(race), "begun": begun}, "grid": pick(full)}
    share = begun / found["grid"]["trials"]
    same = found["race"]["lora_r"] == found["grid"]["lora_r"]
    return {**found, "same_pick": same, "trials_share": round(share, 3), "wanted": {"trials_share": WANTED}}


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.tuned_demo")
    flags.add_argument("--folder", default="results/tuned-demo")
    flags.add_argument("--seeds", nargs="+", default=["0", "1", "2"], help="of the full grid")
    flags.add_argument("--max_seeds", default="10", help="of the race")
    given, both = flags.parse_known_args(arguments)
    show("tuned_demo", measure(given.folder, given.seeds, given.max_seeds, both))


if __name__ == "__main__":
    main()
