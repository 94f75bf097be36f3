"""One HTML file that opens offline: `python -m sweep.report results/NAME` writes results/NAME/report.html."""

import sys
from collections.abc import Sequence

from sweep import analysis
from sweep.common.program import Parser, command
from sweep.errors import SweepError


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and says where; returns the exit code."""
    given = parser().parse_args(arguments)
    from sweep.show.page import write_page

    try:
        sweep = analysis.load(given.sweep)
        found = analysis.answer(sweep, margin=given.margin, prefer=given.prefer)
        print(write_page(sweep, found, given.output))
    except SweepError as error:
        print(error, file=sys.stderr)
        return 2
    if found.partial:
        print("warning: this report is partial: not all trials have ended", file=sys.stderr)
    return 0


def parser() -> Parser:
    flags = Parser("report", description="Writes a sweep's answer as one HTML file.")
    flags.add_argument("sweep", help="a sweep's folder or URI, e.g. results/demo")
    flags.add_argument("--output", metavar="FILE", help="where to write (default: report.html in the sweep's folder)")
    analysis.add_rules(flags)
    return flags


if __name__ == "__main__":
    command(main)
