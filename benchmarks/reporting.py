"""Steps per second with our reporter, and with a synchronous `tune.report` at every step, relative to no reporting.

    python -m benchmarks.reporting [--trials 1 4 16] [--steps 400] [--repetitions 3]

A step waits 20 ms, as if for a GPU. All trials of a side run at once; they begin when all processes are up, so that none
starts while another is measured. About 8 minutes on two cores.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.common import median, own_ray, show, spread, sweep
from sweep.common.quiet import quiet_tune
from sweep.contract.trainable import Context

WANTED = 0.98
STEP_S = 0.02


def row(number: int) -> dict[str, Any]:
    """A step row as StepRows makes it."""
    return {
        "step": number,
        "epoch": number / 1000,
        "loss": 2.0 + 1.0 / number,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "step_time_s": STEP_S,
        "tokens": 1000,
        "memory_allocated_bytes": 10**9,
        "peak_memory_allocated_bytes": 2 * 10**9,
        "peak_memory_reserved_bytes": 2 * 10**9,
        "peak_rss_bytes": 10**9,
        "eval_loss": None,
        "timestamp": datetime.now(UTC),
    }


def measured(folder: str, name: str, together: int, steps: int, report: Any) -> None:
    """Waits for the others, does the steps, and writes the rate to a file."""
    (Path(folder) / f"{name}.here").touch()
    while len(list(Path(folder).glob("*.here"))) < together:
        time.sleep(0.05)
    begin = time.perf_counter()
    for number in range(1, steps + 1):
        time.sleep(STEP_S)
        report(row(number))
    (Path(folder) / f"{name}.rate").write_text(str(steps / (time.perf_counter() - begin)))


class Steps:
    """A trainable that reports every step, or none."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {
        "rates": (str, "folder for the rates"),
        "together": (int, "trials at once"),
        "reporting": (bool, "whether steps are reported"),
    }

    def check(self, trials: Sequence[Any], resolve: Any) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Any], resolve: Any) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> dict[str, Any]:
        chosen = context.settings
        report = context.report if chosen["reporting"] else lambda row: None
        measured(chosen["rates"], context.trial_id, chosen["together"], chosen["max_steps"], report)
        return {}


def through_us(folder: str, together: int, steps: int, reporting: bool) -> None:
    ranks = [str(rank) for rank in range(1, together + 1)]
    words = ["--trainable", "benchmarks.reporting:Steps", "--rates", folder, "--together", str(together)]
    words += ["--max_steps", str(steps), "--lora_r", *ranks, "--reporting", str(reporting).lower()]
    sweep(f"{folder}/sweeps", *words)


def synchronous(folder: str, together: int, steps: int) -> None:
    """The usual way: the training function reports every step to Tune."""
    from ray import tune

    def train(config: dict[str, Any]) -> None:
        def report(values: dict[str, Any]) -> None:
            tune.report({key: value for key, value in values.items() if key != "timestamp"})

        measured(folder, str(config["trial"]), together, steps, report)

    space = {"trial": tune.grid_search(list(range(together)))}
    run = tune.RunConfig(storage_path=f"{folder}/tune", verbose=0)
    with quiet_tune():
        tune.Tuner(tune.with_resources(train, {"CPU": 1}), param_space=space, run_config=run).fit()


def rate(side: str, together: int, steps: int) -> float:
    """Steps per second of a trial, averaged over those that ran at once."""
    with tempfile.TemporaryDirectory() as folder:
        if side == "tune.report":
            synchronous(folder, together, steps)
        else:
            through_us(folder, together, steps, side == "ours")
        rates = [float(file.read_text()) for file in Path(folder).glob("*.rate")]
        assert len(rates) == together
        return sum(rates) / together


def compare(together: int, steps: int, repetitions: int) -> dict[str, Any]:
    sides: dict[str, list[float]] = {"none": [], "ours": [], "tune.report": []}
    with own_ray(together):
        for _ in range(repetitions):
            for side, rates in sides.items():
                rates.append(rate(side, together, steps))
    ratios = {
        side: [one / bare for one, bare in zip(rates, sides["none"], strict=True)] for side, rates in sides.items()
    }
    return {
        "steps_per_second": {side: median(rates) for side, rates in sides.items()},
        "ratio": median(ratios["ours"]),
        "ratio_range": spread(ratios["ours"]),
        "ratio_tune_report": median(ratios["tune.report"]),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 4, 16], help="trials at once")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args(argv)
    found = {str(count): compare(count, given.steps, given.repetitions) for count in given.trials}
    show("reporting", {"step_s": STEP_S, "steps": given.steps, "at_once": found, "wanted": {"ratio": WANTED}})


if __name__ == "__main__":
    main()
