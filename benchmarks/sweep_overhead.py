"""The demo sweep in one slot against a plain for loop over the same trials, both as whole commands.

    python -m benchmarks.sweep_overhead [--lora_r 2 8 32] [--seeds 0 1] [--max_steps 60] [--repetitions 3]

Both use one thread. The machine's speed varies from minute to minute, so the sweep's training seconds are replaced by the
loop's, and only everything else is compared. The sweep starts with an empty token cache. About 10 minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import bare
from benchmarks.common import median, show, spread, timed

WANTED = 1.10


def sweep_seconds(words: Sequence[str], slots: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of the sweep command with this many slots of one thread each, and its trials' rows."""
    from sweep.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sweep.grid", "--preset", "demo", "--storage_path", folder, "--name", "sweep"]
        command += ["--cpus_per_trial", "1", "--max_concurrent_trials", str(slots), *words]
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        environment.pop("RAY_ADDRESS", None)
        seconds, done = timed(lambda: subprocess.run(command, capture_output=True, text=True, env=environment))
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return seconds, Store(f"{folder}/sweep").trials().to_pylist()


def loop_seconds(words: Sequence[str], threads: int = 1) -> tuple[float, list[dict[str, float]]]:
    """Seconds of the for loop's command, and of each of its trials."""
    return timed(lambda: bare.run([*words, "--threads", str(threads)]))


def measure(words: Sequence[str], repetitions: int) -> dict[str, Any]:
    sweeps: list[float] = []
    loops: list[float] = []
    trained: dict[str, list[float]] = {"sweep": [], "loop": []}
    for _ in range(repetitions):
        ours, rows = sweep_seconds(words, 1)
        theirs, trials = loop_seconds(words)
        trained["sweep"].append(sum(row["train_runtime"] for row in rows))
        trained["loop"].append(sum(trial["train"] for trial in trials))
        sweeps.append(ours - trained["sweep"][-1] + trained["loop"][-1])
        loops.append(theirs)
    ratios = [ours / theirs for ours, theirs in zip(sweeps, loops, strict=True)]
    return {
        "trials": len(rows),
        "seconds_sweep": median(sweeps),
        "seconds_loop": median(loops),
        "seconds_trained": {side: median(values) for side, values in trained.items()},
        "ratio": median(ratios),
        "ratio_range": spread(ratios),
        "wanted": {"ratio": WANTED},
    }


def arguments(argv: Sequence[str] | None, doc: str | None) -> tuple[list[str], int]:
    """The command-line words for both sides, and the repetitions."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora_r", nargs="+", default=["2", "8", "32"])
    parser.add_argument("--seeds", nargs="+", default=["0", "1"])
    parser.add_argument("--max_steps", default="60")
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args(argv)
    words = ["--lora_r", *given.lora_r, "--seeds", *given.seeds, "--max_steps", given.max_steps]
    return words, given.repetitions


def main(argv: Sequence[str] | None = None) -> None:
    words, repetitions = arguments(argv, __doc__)
    show("sweep_overhead", {"words": " ".join(words), **measure(words, repetitions)})


if __name__ == "__main__":
    main()
