"""Which rank, how sure, at what price: `python -m sweep.analysis results/NAME`, also while the sweep runs.

Several sweeps stand in one table: `python -m sweep.analysis results/A results/B`.
The Python API is `load`, `answer`, `compare`, `render` and `parquet`; `sweep.load(path)` is the same `load`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweep.common.program import Parser, command
from sweep.config.sweep_config import FLAGS
from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.answer.answer import Answer
    from sweep.show.tables import Format
    from sweep.store.loading import Sweep

MARGIN: float = FLAGS["margin"].default


def load(path: str) -> "Sweep":
    """The sweep at a path or URI: its rows as frames `.trials`, `.steps`, `.evals`, `.scores`, and sweep.json as `.config`.

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
    from sweep.scores.add import with_scores

    return with_scores(sweep, build_answer(sweep, margin=_margin([sweep]) if margin is None else margin, prefer=prefer))


def compare(sweeps: Sequence["Sweep"], *, margin: float | None = None, prefer: Sequence[str] = ()) -> "Answer":
    """One answer over several sweeps: their configurations against each other where the data are the same.

    Args:
        margin, prefer: as for `answer`; the sweeps' own margin counts where they have the same one.

    Raises:
        SweepError: a sweep is there twice, or they tuned different settings.
    """
    from sweep.several.build import build

    return build(sweeps, margin=_margin(sweeps) if margin is None else margin, prefer=prefer)


def _margin(sweeps: Sequence["Sweep"]) -> float:
    own = {one.config.get("margin") for one in sweeps}
    found = own.pop() if len(own) == 1 else None
    return float(found) if isinstance(found, int | float) else MARGIN


def render(answer: "Answer", format: "Format" = "table", *, color: bool | None = None, width: int | None = None) -> str:
    """The answer as a table, JSON, CSV or Markdown. Colors by default only if standard output is a terminal."""
    from sweep.show.tables import render

    return render(answer, format, color=color, width=width)


def parquet(answer: "Answer") -> bytes:
    """A Parquet file with a row per configuration, for a notebook: `pandas.read_parquet(io.BytesIO(…))`."""
    from sweep.show.tables import parquet

    return parquet(answer)


def parser() -> Parser:
    flags = Parser("analysis", description="Which configuration to take, how sure that is, and at what price.")
    flags.add_argument(
        "sweep", nargs="*", help="a sweep's folder or URI, e.g. results/demo; several are compared in one table"
    )
    flags.add_argument("--from_csv", "--from_file", metavar="FILE", help="rows from a .csv or .parquet file instead")
    flags.add_argument("--format", choices=("table", "json", "csv", "markdown", "parquet"), default="table")
    flags.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
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
    if bool(given.sweep) == (given.from_csv is not None):
        flags.error("give a sweep's folder, or several, or --from_csv FILE, and not both")
    if given.format == "parquet" and given.output is None and sys.stdout.isatty():
        flags.error("--format parquet is not for a terminal: give --output FILE, or redirect standard output")
    try:
        sweeps = [load(path) for path in given.sweep] or [from_file(given.from_csv)]
        rules = {"margin": given.margin, "prefer": given.prefer}
        found = answer(sweeps[0], **rules) if len(sweeps) == 1 else compare(sweeps, **rules)
        _write(found, given.format, given.output)
    except SweepError as error:
        print(error, file=sys.stderr)
        return 2
    for line in [*(note for one in sweeps for note in one.notes), *_unsaid(found, given.format)]:
        print(f"warning: {line}", file=sys.stderr)
    return 0


def _write(found: "Answer", format: "Format | Literal['parquet']", output: str | None) -> None:
    """Writes the answer to a file or to standard output.

    Raises:
        SweepError: the file cannot be written.
    """
    if output is None:
        if format == "parquet":
            sys.stdout.buffer.write(parquet(found))
        else:
            print(render(found, format))
        return
    from sweep.common.cache import atomic_file
    from sweep.common.formatting import reason

    try:
        with atomic_file(Path(output)) as aside:
            aside.write_bytes(
                parquet(found) if format == "parquet" else f"{render(found, format, color=False)}\n".encode()
            )
    except OSError as error:
        raise SweepError(f"--output {output}: it cannot be written: {reason(error)}. Give another file.") from error


def _unsaid(found: "Answer", format: str) -> list[str]:
    """The warnings, where the format has no place for them."""
    from sweep.show.tables import not_compared, warnings

    return [*warnings(found), *not_compared(found)] if format in ("csv", "parquet") else []


if __name__ == "__main__":
    command(main)
