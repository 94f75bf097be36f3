"""Kills the processes of demo sweeps at random, and compares the results with an undisturbed sweep's, bit for bit.

    python -m benchmarks.chaos [--rounds 1] [--seed 0] [--victims worker driver gcs_server raylet] [--race]

Each victim is sent SIGKILL and SIGTERM at a random time, while a trial evaluates, and while a checkpoint is uploaded; each time
the sweep has ended, the same command runs again. With --race the sweep chooses its trials, and victims are also killed while it
records a decision. Kills only processes that the sweep started. Prints one JSON object. About 13 minutes on two cores.
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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.windows import FOLDER, PAUSE_S, inside
from sweep.store.store import Store

VICTIMS, SIGNALS, WINDOWS = (
    ("worker", "driver", "gcs_server", "raylet"),
    ("SIGKILL", "SIGTERM"),
    ("any", "evaluation", "upload"),
)
DECISION = "decision"  # the window that a race has as well
SWEEP = [
    "--preset",
    "demo",
    "--seeds",
    "0",
    "1",
    "--name",
    "chaos",
    "--cpus_per_trial",
    "1",
    "--save_steps",
    "5",
    "--max_failures",
    "100",
]
SWEEP += ["--trainable", "benchmarks.windows:Slow", "--max_steps", "30"]
RACE = ["--tune", "learning_rate", "--ladder", "2.4e-3", "8e-3", "2.4e-2", "--race", "--max_seeds", "3"]
# What a trial measured and learned; times, paths and process ids differ between runs.
COMPARED = ["trial_id", "status", "steps", "train_loss", "eval_loss", "tokens", "epochs", "trainable_parameters"]
TRUE_ENDINGS = {
    "completed",
    "interrupted",
}  # other endings would be false: there is no scheduler, and trials do not fail by themselves


class Kill(NamedTuple):
    """Which process to kill, with which signal, and when."""

    victim: str
    signal: str
    window: str


@dataclass
class Chaos:
    """Sweeps under attack in their own folder, which also holds their temporary files, caches and Ray."""

    folder: Path
    random: random.Random
    kills: list[Kill]
    more: Sequence[str] = ()
    runs: int = 0
    done: Counter[str] = field(default_factory=Counter)
    exits: dict[str, Counter[int]] = field(default_factory=dict)
    false_endings: list[str] = field(default_factory=list)
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    def sweep(self, name: str) -> dict[str, Any]:
        """Repeats the same command until it exits with code 0; returns what the sweep measured."""
        while self._attempt(self.folder / name) != 0:
            pass
        return state(self.folder / name)

    def _attempt(self, place: Path) -> int:
        self.runs += 1
        driver = subprocess.Popen(
            command(place, self.more),
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ended_by = "nothing"
        while self.kills and driver.poll() is None and ended_by == "nothing":
            if self._kill(driver, self.kills[-1]):
                kill = self.kills.pop()
                self.done[" ".join(kill)] += 1
                ended_by = "nothing" if kill.victim == "worker" else f"{kill.victim} {kill.signal}"
        code = driver.wait()
        self.exits.setdefault(ended_by, Counter())[code] += 1
        self._note_false_endings(place, ended_by)
        return code

    def _environment(self) -> dict[str, str]:
        own = {"TMPDIR": "tmp", "RAY_TMPDIR": "r", "XDG_CACHE_HOME": "cache", FOLDER: "windows"}
        for name in own.values():
            (self.folder / name).mkdir(exist_ok=True)
        return {**os.environ, **{key: str(self.folder / name) for key, name in own.items()}}

    def _kill(self, driver: "subprocess.Popen[bytes]", kill: Kill) -> bool:
        """Waits for a while for the right moment; returns whether it came and the signal was sent."""
        time.sleep(self.random.uniform(1.0, 6.0) if kill.window == "any" else 0.02)
        tree = {one.pid: one for one in children(driver.pid)}
        self.seen |= tree
        workers = trial_processes(driver.pid)
        if kill.window != "any":
            pids = inside(self.folder / "windows", kill.window)
            if kill.window != DECISION:
                workers = [tree[pid] for pid in pids if pid in tree]
            elif driver.pid not in pids:
                return False
            time.sleep(self.random.uniform(0, 2 * PAUSE_S) if workers else 0)
        if not workers:
            return False
        worker = self.random.choice(workers)
        if kill.victim == "driver":
            return end_driver(driver, kill.signal)
        return send(worker if kill.victim == "worker" else named(tree.values(), kill.victim), kill.signal)

    def _note_false_endings(self, place: Path, ended_by: str) -> None:
        for row in Store(str(place / "chaos")).trials().select(["trial_id", "status", "error_message"]).to_pylist():
            if row["status"] not in TRUE_ENDINGS:
                self.false_endings.append(
                    f"after {ended_by}: {row['trial_id']} {row['status']} {row['error_message'] or ''}"
                )

    def leftovers(self) -> dict[str, list[str]]:
        """What a sweep should have cleaned up: temporary files, spooled files, processes."""
        alive = outliving(self.seen.values(), timeout=90)
        temporary = sorted(path.name for path in (self.folder / "tmp").iterdir())  # torch's cache stays by design
        spool = [str(path) for path in (self.folder / "cache").glob("lora-rank-sweep/spool/*")]
        return {
            "left_in_tmp": [name for name in temporary if not name.startswith("torchinductor_")] + spool,
            "left_running": [one.name() for one in alive],
        }


def command(place: Path, more: Sequence[str] = ()) -> list[str]:
    return [sys.executable, "-m", "sweep.grid", *SWEEP, "--storage_path", str(place), *more]


def trial_processes(driver: int) -> list[psutil.Process]:
    """The processes that run trials in the Ray that a driver started."""
    found = []
    for child in children(driver):
        try:
            name = " ".join(child.cmdline())
            if (
                "ResourceTrainable" in name or "TuneTrial" in name
            ):  # Ray's names for them, depending on what they are doing
                found.append(child)
        except psutil.Error:
            continue
    return found


def children(driver: int) -> list[psutil.Process]:
    try:
        return psutil.Process(driver).children(recursive=True)
    except psutil.Error:
        return []


def named(processes: Any, name: str) -> psutil.Process | None:
    for one in processes:
        try:
            if one.name() == name and one.status() != psutil.STATUS_ZOMBIE:
                return psutil.Process(one.pid)
        except psutil.Error:
            continue
    return None


def send(victim: psutil.Process | None, name: str) -> bool:
    try:
        if victim is None:
            return False
        victim.send_signal(getattr(signal, name))
    except psutil.Error:
        return False
    return True


def end_driver(driver: "subprocess.Popen[bytes]", name: str) -> bool:
    """SIGKILL also kills everything that the driver started, at once, as when a machine goes down."""
    if name == "SIGKILL":
        kill_all(driver.pid)
    else:
        driver.send_signal(getattr(signal, name))
    return True


def kill_all(driver: int) -> None:
    victims = children(driver)
    os.kill(driver, signal.SIGKILL)
    for victim in victims:
        send(victim, "SIGKILL")
    outliving(victims, timeout=30)


def outliving(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Waits for processes to end, so many seconds; returns those that have not.

    psutil.wait_procs raises FileNotFoundError where a process ends between its look and pidfd_open (psutil 7, Linux 6).
    """
    deadline = time.monotonic() + timeout
    while (alive := [one for one in processes if _runs(one)]) and time.monotonic() < deadline:
        processes = alive
        time.sleep(0.05)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def state(folder: Path) -> dict[str, Any]:
    """All results of a sweep that must not depend on interruptions. (A race may start more trials than it needs, to fill slots.)"""
    store = Store(str(folder / "chaos"))
    wanted = {entry["trial_id"] for entry in store.read_sweep()["trials"]}
    trials = store.trials().select(COMPARED).sort_by("trial_id").to_pylist()
    steps = store.steps().select(["trial_id", "step", "loss", "grad_norm", "learning_rate", "tokens"]).to_pylist()
    evals = store.evals().sort_by([("trial_id", "ascending"), ("example_id", "ascending")]).to_pylist()
    tables = {"trials": trials, "steps": steps, "evals": evals}
    measured = {name: [row for row in rows if row["trial_id"] in wanted] for name, rows in tables.items()}
    return {**measured, "decisions": store.decisions().to_pylist()}


def first_difference(calm: list[Any], left: list[Any]) -> str:
    unlike = [f"{one} became {other}" for one, other in zip(calm, left, strict=False) if one != other]
    return f"{len(calm)} rows became {len(left)}; {unlike[0] if unlike else 'the others are the same'}"


def differences(calm: dict[str, Any], left: dict[str, Any], name: str) -> list[str]:
    return [f"{name}: {part}: {first_difference(calm[part], left[part])}" for part in calm if calm[part] != left[part]]


def compare(kills: Sequence[Kill], seed: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Runs an undisturbed sweep, then sweeps under attack until all kills are done; reports kills and differences."""
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="chaos-"))
    chance = random.Random(seed)
    try:
        calm = Chaos(folder, chance, [], more).sweep("calm")
        chaos = Chaos(folder, chance, chance.sample(list(kills), len(kills)), more)
        different, sweeps = [], 0
        while chaos.kills:
            sweeps += 1
            different += differences(calm, chaos.sweep(f"chaos-{sweeps}"), f"sweep {sweeps}")
        return {
            "kills": dict(sorted(chaos.done.items())),
            "seed": seed,
            "sweeps": sweeps,
            "drivers_started": chaos.runs,
            "exit_codes": {ended_by: dict(codes) for ended_by, codes in sorted(chaos.exits.items())},
            "different": different,
            "false_endings": chaos.false_endings,
            **chaos.leftovers(),
            "minutes": round((time.monotonic() - began) / 60, 1),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=1, help="how often to send each signal to each victim in each window"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--race", action="store_true", help="a sweep that chooses its trials instead of a grid")
    args = parser.parse_args()
    windows = (*WINDOWS, DECISION) if args.race else WINDOWS
    kills = [Kill(*one) for one in product(args.victims, SIGNALS, windows)] * args.rounds
    print(json.dumps(compare(kills, args.seed, RACE if args.race else ())))


if __name__ == "__main__":
    main()
