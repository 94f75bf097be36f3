"""Runs a row's sweep and measures it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import timed
from benchmarks.gallery.bits import bits_of_trials
from benchmarks.gallery.rows import Row
from benchmarks.machine import machine
from sweep import analysis

ENDINGS = {"completed", "diverged"}  # a rate that is too high diverges: that is an answer


def run(row: Row, folder: str) -> dict[str, Any]:
    """Runs what is missing of a row's sweep; returns what was measured.

    `minutes` are those of the whole command, and `load` is the machine's load average when it began: of a sweep that was
    there before, neither.
    """
    resumed, load = Path(folder, row.name).exists(), os.getloadavg()[0]
    seconds, _ = timed(lambda: command([*row.flags, "--storage_path", folder]))
    times = {} if resumed else {"minutes": round(seconds / 60, 1), "load": round(load, 1)}
    return {"flags": shlex.join(row.flags), **times, **measured(f"{folder}/{row.name}"), "machine": machine()}


def command(words: Sequence[str]) -> None:
    """`python -m sweep.grid` with its progress; whether it came to its end is for `measured` to see."""
    subprocess.run([sys.executable, "-m", "sweep.grid", *words], stdout=subprocess.DEVNULL)


def measured(location: str) -> dict[str, Any]:
    """What a sweep answers, and its trials' losses.

    Raises:
        SystemExit: it is not at its end.
    """
    sweep = analysis.load(location)
    found = analysis.answer(sweep)
    if found.partial or not found.recommendation or not found.statuses.keys() <= ENDINGS:
        raise SystemExit(f"{location} ended with {dict(found.statuses)}. The same command resumes it.")
    return {
        "pick": found.recommendation.label,
        "decided": found.recommendation.decided,
        "losses": {one.label: one.loss for one in found.compared},
        "answer": analysis.render(found, "markdown").splitlines(),
        "trials": bits_of_trials(sweep),
    }
