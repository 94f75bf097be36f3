"""Which rank, how sure, at what price: `python -m sweep.analysis results/NAME`, also while the sweep runs.

The Python API is `load`, `answer` and `render`; `sweep.load(path)` is the same `load`.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep.common.program import prog
from sweep.config.sweep_config import FLAGS
from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.answer.answer import Answer
    from sweep.show.tables import Format
    from sweep.store.loading import Sweep

MARGIN: float = FLAGS["margin"].default


def load(path: str) -> "Sweep":
    """The sweep at a path or URI: its rows as frames `.trials`, `.steps`, `.evals`, and sweep.json as `.config`.

    Raises:
        NotASweep, NewerSchema: there is none, or a later version wrote it.
    """
    from sweep.store.loading import load

    return load(path)


def from_file(path: str) -> "Sweep":
    """Rows of one CSV or Parquet file, as a sweep.

    Raises:
        RowsError: names everything in it that cannot be understood.
    """
    from sweep.store.rows import from_file

    return from_file(path)


def answer(sweep: "Sweep", *, margin: float | None = None, prefer: Sequence[str] = ()) -> "Answer":
    """The recommendation and every number behind it.

    Args:
        margin: how far above the best a loss may be, as a fraction of it; by default the sweep's own, or half a percent.
        prefer: costs in the order in which they decide; those left out follow in their usual order.
    """
    from sweep.answer.build import build_answer

    if margin is None:
        own = sweep.config.get("margin")
        margin = float(own) if isinstance(own, int | float) else MARGIN
    return build_answer(sweep, margin=margin, prefer=prefer)


def render(answer: "Answer", format: "Format" = "table", *, color: bool | None = None, width: int | None = None) -> str:
    """The answer as a table, JSON, CSV or Markdown. Colors by default only if standard output is a terminal."""
    from sweep.show.tables import render

    return render(answer, format, color=color, width=width)


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(
        prog=prog("analysis"), description="Which configuration to take, how sure that is, and at what price."
    )
    flags.add_argument("sweep", nargs="?", help="a sweep's folder or URI, e.g. results/demo")
    flags.add_argument("--from_csv", "--from_file", metavar="FILE", help="rows from a .csv or .parquet file instead")
    flags.add_argument("--format", choices=("table", "json", "csv", "markdown"), default="table")
    add_rules(flags)
    return flags


def add_rules(flags: argparse.ArgumentParser) -> None:
    """The flags by which an answer is chosen: those of every command that gives one."""
    flags.add_argument(
        "--margin",
        type=float,
        help=f"how far above the best is good enough, as a share (default: the sweep's, or {MARGIN:g})",
    )
    flags.add_argument(
        "--prefer",
        nargs="+",
        metavar="COST",
        type=_cost,
        default=(),
        help="what cheap means, first to last (default: memory, time, parameters)",
    )


def _cost(name: str) -> str:
    from sweep.common.formatting import listed
    from sweep.store.columns import COSTS

    if name not in COSTS:
        raise argparse.ArgumentTypeError(f"expected {listed([*COSTS], 'or')}, got {name!r}")
    return name


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the answer; returns the exit code."""
    flags = parser()
    given = flags.parse_args(arguments)
    if (given.sweep is None) == (given.from_csv is None):
        flags.error("give a sweep's folder, or --from_csv FILE, and not both")
    try:
        sweep = load(given.sweep) if given.sweep is not None else from_file(given.from_csv)
        found = answer(sweep, margin=given.margin, prefer=given.prefer)
    except SweepError as error:
        print(error, file=sys.stderr)
        return 2
    print(render(found, given.format))
    for line in [*sweep.notes, *_unsaid(found, given.format)]:
        print(f"warning: {line}", file=sys.stderr)
    return 0


def _unsaid(found: "Answer", format: str) -> list[str]:
    """The warnings, where the format has no place for them."""
    from sweep.show.tables import lost, warnings

    return [*warnings(found), *lost(found)] if format == "csv" else []


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads may stop reading: `| head`
    sys.exit(main())
