"""One HTML file that opens offline: `python -m sweep.report results/NAME` writes results/NAME/report.html.

Everything is in it: text, tables, figures as JSON, the plotting library. Every value is escaped.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.analysis import COSTS
from sweep.common.formatting import reason
from sweep.errors import SweepError

if TYPE_CHECKING:
    from markupsafe import Markup

    from sweep.answer.parts import Answer
    from sweep.show.drawing import Plot
    from sweep.store.loading import Sweep

NAME = "report.html"


def html(sweep: "Sweep", answer: "Answer") -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from sweep.answer.wording import NOT_COVERED
    from sweep.show.cells import cells
    from sweep.show.reproduce import commands
    from sweep.show.tables import heading, lost, said, warnings

    plots = _plots(sweep, answer)
    environment = Environment(loader=PackageLoader("sweep.show"), autoescape=True)
    environment.filters["flags"] = _flags
    headings, rows = cells(answer)
    return environment.get_template("report.html.j2").render(
        answer=answer,
        heading=heading(answer),
        said=said(answer),
        pick=answer.recommendation.label if answer.recommendation else None,
        headings=headings,
        rows=rows,
        plots=plots,
        figures=Markup(script_json({plot.name: plot.figure for plot in plots})),
        plotly=Markup(get_plotlyjs()),
        not_covered=NOT_COVERED,
        warnings=warnings(answer),
        lost=lost(answer),
        deliberate=[one.text for one in answer.differences if one.kind == "axis"],
        neutral=[one.text for one in answer.differences if one.kind == "neutral"],
        provenance=_flat(answer.provenance),
        commands=commands(sweep, answer),
    )


def _plots(sweep: "Sweep", answer: "Answer") -> "list[Plot]":
    from sweep.show.drawing_costs import against, throughput
    from sweep.show.drawing_ranks import by_rank
    from sweep.show.drawing_steps import by_trial, held_out, losses, memory

    steps = by_trial(sweep.steps)
    made = (
        by_rank(answer, sweep.trials),
        held_out(answer, steps),
        losses(answer, steps),
        against(answer, "peak_memory_allocated_bytes", "memory", "Loss against peak GPU memory"),
        against(answer, "train_runtime", "time", "Loss against training time"),
        memory(answer, steps),
        throughput(answer),
    )
    return [plot for plot in made if plot]


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever texts it has."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _flags(text: str) -> "Markup":
    """The text, escaped, with its flags and percentages each kept on one line: --seeds, 0.5 %."""
    from markupsafe import Markup, escape

    whole = re.sub(r"(\d) %", "\\1\N{NO-BREAK SPACE}%", str(escape(text)))
    return Markup(re.sub(r"--\w+", r"<code>\g<0></code>", whole))


def _flat(provenance: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as names and texts; a library's version stands under the library's name."""
    lines: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            lines += _flat(value, "" if key == "versions" else f"{prefix}{key} ")
        else:
            lines.append((f"{prefix}{key}", str(value)))
    return lines


def write(sweep: "Sweep", answer: "Answer", output: str | None = None) -> str:
    """Writes the page into the sweep, or to a path; returns where.

    Raises:
        SweepError: it cannot be written there.
    """
    page = html(sweep, answer).encode()
    if output == "":
        raise SweepError("--output: expected a file, got ''. Leave it out to write into the sweep.")
    try:
        if output is None and sweep.store is not None:
            sweep.store.write_bytes(NAME, page)
            return sweep.store.uri(NAME)
        Path(output or NAME).write_bytes(page)
    except OSError as error:
        raise SweepError(
            f"The report cannot be written: {reason(error)}. Give another place with --output FILE."
        ) from error
    return output or NAME


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and says where; returns the exit code."""
    flags = argparse.ArgumentParser(
        prog="python -m sweep.report", description="Writes a sweep's answer as one HTML file."
    )
    flags.add_argument("sweep", help="a sweep's folder or URI, e.g. results/demo")
    flags.add_argument("--output", metavar="FILE", help=f"where to write (default: {NAME} in the sweep's folder)")
    flags.add_argument("--margin", type=float, help="how far above the best is good enough (default: the sweep's)")
    flags.add_argument(
        "--prefer", nargs="+", metavar="COST", choices=COSTS, help="what cheap means: memory, time, parameters"
    )
    given = flags.parse_args(arguments)
    from sweep import analysis

    try:
        sweep = analysis.load(given.sweep)
        found = analysis.answer(sweep, margin=given.margin, prefer=given.prefer or COSTS)
        print(write(sweep, found, given.output))
    except SweepError as error:
        print(error, file=sys.stderr)
        return 2
    if found.partial:
        print("warning: this report is partial: not all trials have ended", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
