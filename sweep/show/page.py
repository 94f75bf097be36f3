"""The answer as one HTML page that opens offline: it contains text, tables, figures as JSON and the plotting library.

Every value is escaped.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from sweep.answer.answer import Answer
from sweep.answer.wording import NOT_COVERED
from sweep.common.formatting import reason, share
from sweep.errors import SweepError
from sweep.show.cells import cells, values
from sweep.show.drawing import Plot
from sweep.show.drawing_costs import against, bars
from sweep.show.drawing_ranks import by_rank
from sweep.show.drawing_steps import by_trial, curve, curve_metrics, losses
from sweep.show.drawing_values import by_value
from sweep.show.reproduce import commands
from sweep.show.tables import heading, not_compared, recommendation_text, warnings
from sweep.store.columns import LOSSES
from sweep.store.loading import Sweep

NAME = "report.html"


def render_html(sweep: Sweep, answer: Answer) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    plots = _plots(sweep, answer)
    environment = Environment(loader=PackageLoader("sweep.show"), autoescape=True)
    environment.filters.update(flags=_flags, share=share)
    headings, rows = cells(answer)
    return environment.get_template("report.html.j2").render(
        answer=answer,
        heading=heading(answer),
        recommendation=recommendation_text(answer),
        pick=answer.recommendation.label if answer.recommendation else None,
        headings=headings,
        rows=rows,
        tried=values(answer),
        plots=plots,
        figures=Markup(script_json({plot.name: plot.figure for plot in plots})),
        plotly=Markup(get_plotlyjs()),
        not_covered=NOT_COVERED,
        warnings=warnings(answer),
        not_compared=not_compared(answer),
        deliberate=[one.text for one in answer.differences if one.kind == "axis"],
        neutral=[one.text for one in answer.differences if one.kind == "neutral"],
        provenance=flat(answer.provenance),
        commands=commands(sweep, answer),
    )


def _plots(sweep: Sweep, answer: Answer) -> list[Plot]:
    steps = by_trial(sweep.steps)
    by_step = curve_metrics(sweep.steps)
    made = (
        by_rank(answer, sweep.trials),
        by_value(answer),
        *(curve(answer, steps, column) for column in by_step if column.name in LOSSES),
        losses(answer, steps),
        *(against(answer, front) for front in answer.fronts if len(front.metrics) == 2),
        *(curve(answer, steps, column) for column in by_step if column.name not in LOSSES),
        *(bars(answer, column) for column in answer.metrics("bars")),
    )
    return [plot for plot in made if plot]


def script_json(value: Any) -> str:
    """JSON that cannot close the script element around it, whatever strings it contains."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _flags(text: str) -> Markup:
    """The escaped text, with flags as code and percentages without a line break: --seeds, 0.5 %."""
    whole = re.sub(r"(\d) %", "\\1\N{NO-BREAK SPACE}%", str(escape(text)))
    return Markup(re.sub(r"--\w+", r"<code>\g<0></code>", whole))


def flat(provenance: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as pairs of name and text; a library's version is listed under the library's name."""
    lines: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            lines += flat(value, "" if key == "versions" else f"{prefix}{key} ")
        else:
            lines.append((f"{prefix}{key}", str(value)))
    return lines


def write_page(sweep: Sweep, answer: Answer, output: str | None = None) -> str:
    """Writes the page into the sweep's folder, or to `output`; returns its location.

    Raises:
        SweepError: it cannot be written there.
    """
    page = render_html(sweep, answer).encode()
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
