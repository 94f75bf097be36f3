"""Sweeps that were really run, and what they answered: one command runs a row of docs/gallery.md again.

    python -m benchmarks.gallery [NAME ...] [--folder results/gallery] [--check]

Runs the rows' commands, or resumes them, and records what was measured in benchmarks/data/gallery.json, of which
docs/gallery.md is made. With --check nothing is recorded: runs them in a new folder, unless one is named, prints what is not as
it was recorded, to the last bit, and exits with 1 if anything is not. All rows take about 45 minutes on two busy cores.
"""

import argparse
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from benchmarks.common import show
from benchmarks.gallery import record
from benchmarks.gallery.bits import differences
from benchmarks.gallery.rows import ROWS, Row
from benchmarks.gallery.run import run
from benchmarks.machine import machine

FOLDER = "results/gallery"


def main(arguments: Sequence[str] | None = None) -> int:
    names = [row.name for row in ROWS]
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; default: all")
    flags.add_argument("--folder", help=f"default: {FOLDER}; with --check one that is removed afterwards")
    flags.add_argument("--check", action="store_true", help="compare with what is recorded, bit for bit")
    given = flags.parse_args(arguments)
    if unknown := set(given.names) - set(names):
        flags.error(f"no such row: {', '.join(sorted(unknown))}. There are {', '.join(names)}.")
    chosen = [row for row in ROWS if row.name in (given.names or names)]
    with TemporaryDirectory(prefix="gallery-") as new:  # the recorded sweep would only be compared with itself
        different = _run(chosen, given.folder or (new if given.check else FOLDER), given.check)
    show("gallery", {"different": different, "machine": machine()})
    return 1 if given.check and any(different.values()) else 0


def _run(rows: Sequence[Row], folder: str, check: bool) -> dict[str, list[str]]:
    """What of each row is not as it was recorded; records it unless that is only to be checked."""
    different: dict[str, list[str]] = {}
    for row in rows:
        found = run(row, folder)
        different[row.name] = differences(record.read().get(row.name), found)
        if not check:
            record.write(row.name, found)
    return different


if __name__ == "__main__":
    sys.exit(main())
