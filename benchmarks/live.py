"""python -m benchmarks.live: what the live table takes of a core while 64 trials report one to two results a second.

The same results go to a table on a pseudo-terminal of 50 lines, and nowhere; `ratio` is what the table adds, in seconds
of the processor per second.
"""

import argparse
import contextlib
import fcntl
import itertools
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

from benchmarks.common import show
from sweep.live.state import Devices
from sweep.run.progress import Progress
from sweep.space import Trial
from sweep.store.store import Row

LINES, COLUMNS = 50, 160
BATCH_S = 0.1  # between results that come together: Ray Tune's loop wakes about as often
STEPS = 7509
READ_ALL = "import sys\nwhile sys.stdin.buffer.read1(): pass"  # what a terminal does; the end of a pty is an error


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Makes standard error a pseudo-terminal, whose screen is read by another process."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = subprocess.Popen([sys.executable, "-c", READ_ALL], stdin=master, stderr=subprocess.DEVNULL)
    os.close(master)
    before, sys.stderr = sys.stderr, os.fdopen(slave, "w")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        screen.wait()


def busy(tell: Callable[[str, Row], None], names: list[str], results_per_second: float, seconds: float) -> float:
    """Seconds of the processor per second, while each trial reports so many results."""
    turns = itertools.cycle(names)
    wall, processor, told = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - wall) < seconds:
        while told < passed * results_per_second * len(names):
            step = 1 + told // len(names)
            losses = {"step": [10 * step - 5], "loss": [3.0]}
            row = {"step": 10 * step, "loss": 2 + 9 / step, "total_steps": STEPS, "between": losses}
            tell(next(turns), {**row, "peak_memory_allocated_bytes": 3_100_000_000})
            told += 1
        time.sleep(BATCH_S)
    return (time.process_time() - processor) / (time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--results_per_second", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    names = [f"trial-{number}" for number in range(given.trials)]
    trials = [Trial(name, 8, 16.0, place, {"learning_rate": 1e-3}, {}, "") for place, name in enumerate(names)]
    nothing = busy(lambda name, row: None, names, given.results_per_second, given.seconds)
    os.environ.update(TERM="xterm-256color", CI="")
    with terminal(), Progress(trials, {}) as progress:
        progress.runs_on(Devices("GPUs", given.trials, 1, given.trials))
        for name in names:
            progress.started(name)
        shown = busy(progress.row, names, given.results_per_second, given.seconds)
    found = {"of_a_core": round(shown, 5), "of_a_core_without": round(nothing, 5), "ratio": round(shown - nothing, 5)}
    show("live", {"trials": given.trials, "lines": LINES, **found, "wanted": "< 0.01"})


if __name__ == "__main__":
    main()
