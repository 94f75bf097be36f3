"""Kills workers and drivers of demo sweeps at random moments, and compares what is left with an undisturbed sweep, bit for bit.

    python -m benchmarks.chaos [--worker_kills 20] [--driver_kills 10] [--seed 0]

Prints one JSON object. About 10 minutes on two cores.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sweep.store import Store

SAVE_STEPS = 5
SWEEP = [
    "--preset",
    "demo",
    "--name",
    "chaos",
    "--cpus_per_trial",
    "1",
    "--save_steps",
    str(SAVE_STEPS),
    "--max_failures",
    "100",
]
# What a trial measured and learned; times, places and process ids are another run's own.
COMPARED = ["trial_id", "status", "steps", "train_loss", "eval_loss", "tokens", "epochs", "trainable_parameters"]


@dataclass
class Chaos:
    """One sweep under attack, and the kills that are still to come."""

    store: Path
    random: random.Random
    kills: list[str]
    more: Sequence[str] = ()
    runs: int = 0

    def run(self) -> None:
        """Starts the same command until it has ended by itself with exit code 0."""
        while self._attempt() != 0:
            pass

    def _attempt(self) -> int:
        self.runs += 1
        driver = subprocess.Popen(
            command(self.store, self.more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while self.kills and driver.poll() is None:
            time.sleep(self.random.uniform(1.0, 6.0))
            if workers := trial_processes(driver.pid):
                self._kill(driver, self.random.choice(workers))
        return driver.wait()

    def _kill(self, driver: "subprocess.Popen[bytes]", worker: psutil.Process) -> None:
        if self.kills.pop() == "worker":
            worker.send_signal(signal.SIGKILL)
        else:
            kill_all(driver.pid)


def command(store: Path, more: Sequence[str] = ()) -> list[str]:
    return [sys.executable, "-m", "sweep.grid", *SWEEP, "--storage_path", str(store), *more]


def trial_processes(driver: int) -> list[psutil.Process]:
    """Processes that run trials, of the Ray that a driver started."""
    found = []
    for child in children(driver):
        try:
            name = " ".join(child.cmdline())
            if "ResourceTrainable" in name or "TuneTrial" in name:  # what Ray calls them, by what they do just then
                found.append(child)
        except psutil.Error:
            continue
    return found


def children(driver: int) -> list[psutil.Process]:
    try:
        return psutil.Process(driver).children(recursive=True)
    except psutil.Error:
        return []


def kill_all(driver: int) -> None:
    """The driver and everything that it started, at once: what a machine that dies does."""
    victims = children(driver)
    os.kill(driver, signal.SIGKILL)
    for victim in victims:
        try:
            victim.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(victims, timeout=30)


def state(folder: Path) -> dict[str, Any]:
    """Everything of a sweep that must not depend on what happened to it."""
    store = Store(str(folder / "chaos"))
    trials = store.trials().select(COMPARED).sort_by("trial_id").to_pylist()
    steps = store.steps().select(["trial_id", "step", "loss", "grad_norm", "learning_rate", "tokens"]).to_pylist()
    evals = store.evals().sort_by([("trial_id", "ascending"), ("example_id", "ascending")]).to_pylist()
    return {"trials": trials, "steps": steps, "evals": evals}


def first_difference(calm: list[Any], left: list[Any]) -> str:
    unlike = [f"{one} became {other}" for one, other in zip(calm, left, strict=False) if one != other]
    return f"{len(calm)} rows became {len(left)}; {unlike[0] if unlike else 'the rest is alike'}"


def compare(worker_kills: int, driver_kills: int, seed: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Runs both sweeps; says what was killed and whether anything differs."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        Chaos(folder / "calm", random.Random(seed), [], more).run()
        chance = random.Random(seed)
        kills = ["worker"] * worker_kills + ["driver"] * driver_kills
        runs = sweeps = 0
        different: list[str] = []
        chance.shuffle(kills)
        while kills:
            chaos = Chaos(folder / f"chaos-{sweeps}", chance, kills, more)
            chaos.run()
            runs, sweeps = runs + chaos.runs, sweeps + 1
            calm, left = state(folder / "calm"), state(chaos.store)
            different += [
                f"sweep {sweeps}: {part}: {first_difference(calm[part], left[part])}"
                for part in calm
                if calm[part] != left[part]
            ]
        return {
            "worker_kills": worker_kills,
            "driver_kills": driver_kills,
            "seed": seed,
            "sweeps": sweeps,
            "drivers_started": runs,
            "different": different,
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker_kills", type=int, default=20)
    parser.add_argument("--driver_kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(compare(args.worker_kills, args.driver_kills, args.seed)))


if __name__ == "__main__":
    main()
