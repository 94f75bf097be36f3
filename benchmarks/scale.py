"""A thousand short trials under our runner and under bare Ray Tune: time, and growth of the driver's memory.

    python -m benchmarks.scale [--trials 1000] [--slots 2] [--repetitions 1]

A trial is ten reported steps of 20 ms, and a checkpoint at its end. Bare Tune also reuses its processes, and writes its
JSON log. Each side runs in its own process. Memory is the driver's resident set; growth counts from a third of the
trials on, when everything has been imported. About 5 minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import SYNTHETIC, median, own_ray, show, spread, timed
from sweep.common.quiet import quiet_tune

WANTED = 1.10
STEPS, STEP_S = 10, 0.02


class Memory:
    """Resident bytes of this process each time a trial has ended; a progress display for our runner."""

    def __init__(self) -> None:
        self.rss: list[int] = []

    def started(self, trial_id: str) -> None: ...

    def phase(self, trial_id: str, phase: str, rows_left: int | None) -> None: ...

    def row(self, trial_id: str, result: Mapping[str, Any]) -> None: ...

    def ended(self, trial_id: str, status: str) -> None:
        import psutil

        self.rss.append(psutil.Process().memory_info().rss)


def ours(trials: int, folder: str, memory: Memory) -> float:
    """Seconds of the runner alone, without the imports and checks before it."""
    from sweep.config.layers import resolve
    from sweep.plan.admission import no_forecast
    from sweep.plan.planning import make_plan
    from sweep.run.runner import run
    from sweep.run.session import chooser_of
    from sweep.store.store import Store

    seeds = [str(seed) for seed in range(trials)]
    words = [*SYNTHETIC, "--lora_r", "8", "--seeds", *seeds, "--max_steps", str(STEPS), "--step_time_s", str(STEP_S)]
    config, complaints = resolve([*words, "--storage_path", folder, "--name", "sweep"], False)
    assert config is not None and not complaints, complaints
    store = Store(config.location)
    planned = make_plan(config, store)
    seconds, interrupted = timed(lambda: run(planned, chooser_of(planned, store), store, None, {}, memory, no_forecast))
    assert not interrupted
    assert set(store.trials().column("status").to_pylist()) == {"completed"}
    return seconds


def bare(trials: int, folder: str, memory: Memory) -> float:
    from pathlib import Path

    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    class Steps(tune.Trainable):  # type: ignore[misc]  # ray has no types
        def step(self) -> dict[str, Any]:
            time.sleep(STEP_S)
            return {"loss": 1.0 / (1 + self.iteration)}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / "state.json").write_text(json.dumps({"step": self.iteration}))

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    class Ended(tune.Callback):  # type: ignore[misc]  # ray has no types
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            memory.ended("", "")

        def __getstate__(self) -> dict[str, Any]:
            return {}

    run = tune.RunConfig(
        storage_path=folder,
        stop={"training_iteration": STEPS},
        verbose=0,
        callbacks=[JsonLoggerCallback(), Ended()],
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
    )
    space = {"seed": tune.grid_search(list(range(trials)))}
    trainable = tune.with_resources(Steps, {"CPU": 1})
    tuner = tune.Tuner(trainable, param_space=space, run_config=run, tune_config=tune.TuneConfig(reuse_actors=True))
    with quiet_tune():
        return timed(tuner.fit)[0]


def one_side(side: str, trials: int, slots: int) -> dict[str, Any]:
    """Seconds, and the driver's memory after a third of the trials and after all of them."""
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder, own_ray(slots):
        seconds = (ours if side == "ours" else bare)(trials, folder, memory)
    assert len(memory.rss) == trials
    third = memory.rss[trials // 3]
    return {"seconds": seconds, "rss_at_a_third": third, "growth": memory.rss[-1] - third}


def measure(trials: int, slots: int, repetitions: int) -> dict[str, Any]:
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "tune": []}
    for _ in range(repetitions):
        for side, found in sides.items():
            words = [sys.executable, "-m", "benchmarks.scale", "--trials", str(trials), "--slots", str(slots)]
            done = subprocess.run([*words, "--side", side], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            found.append(json.loads(done.stdout.splitlines()[-1]))
    ratios = [our["seconds"] / their["seconds"] for our, their in zip(sides["ours"], sides["tune"], strict=True)]
    return {
        "trials": trials,
        "slots": slots,
        "seconds_at_least": trials * STEPS * STEP_S / slots,
        **{f"seconds_{side}": median([one["seconds"] for one in found]) for side, found in sides.items()},
        "ratio": median(ratios),
        "ratio_range": spread(ratios),
        **{f"driver_growth_bytes_{side}": int(median([one["growth"] for one in sides[side]])) for side in sides},
        "driver_bytes_at_a_third": int(median([one["rss_at_a_third"] for one in sides["ours"]])),
        "wanted": {"ratio": WANTED},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument(
        "--side", choices=["ours", "tune"], help="run only this side, as the benchmark does in its subprocesses"
    )
    given = parser.parse_args(argv)
    if given.side:
        print(json.dumps(one_side(given.side, given.trials, given.slots)))
    else:
        show("scale", measure(given.trials, given.slots, given.repetitions))


if __name__ == "__main__":
    main()
