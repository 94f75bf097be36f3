"""Plots by configuration: loss against each cost, and bars."""

from collections.abc import Sequence

import numpy as np

from sweep.answer.answer import Answer, Configuration, Front
from sweep.common.column import Column
from sweep.common.formatting import capitalized
from sweep.show.drawing import Plot, Trace, axis, escaped, figure, rounded, which_is_better
from sweep.show.looks import GREY, Look, legend, looks
from sweep.store.columns import METRICS

_BETTER = {"min": "both better when lower", "max": "the former better when lower, the latter when higher"}


def against(answer: Answer, front: Front) -> Plot | None:
    """Loss against another metric, with a line through the Pareto front."""
    column = METRICS[front.metrics[1]]
    shown = [one for one in answer.compared if one.loss is not None and one.results[column.name] is not None]
    if answer.metric is None or not shown:
        return None
    scale, title = axis(column)
    loss = METRICS[answer.metric].label
    traces = [_front_line([one for one in shown if one.label in front.labels], column, scale)]
    look = looks(answer.compared)
    traces += [_point(one, look[one.label], column, scale, one.label in front.labels) for one in shown]
    traces += legend((look[one.label] for one in shown), "markers")
    better = _BETTER[column.shown_as.better or "min"]
    caption = (
        f"{capitalized(loss)} against {column.label}, {better}. "
        f"On the Pareto front, filled and joined by the line: {', '.join(front.labels)}."
    )
    return Plot(f"front-{column.name}", f"Loss against {column.label}", caption, figure(traces, title, loss))


def _front_line(on_front: Sequence[Configuration], column: Column, scale: float) -> Trace:
    ordered = sorted(on_front, key=lambda one: _value(one, column))
    return {
        "name": "Pareto front",
        "mode": "lines",
        "line": {
            "color": GREY,
            "dash": "dot",
            "width": 1.5,
            "shape": "vh" if column.shown_as.better == "max" else "hv",
        },
        "hoverinfo": "skip",
        "x": rounded([_value(one, column) / scale for one in ordered], 7),
        "y": rounded([one.loss or np.nan for one in ordered], 7),
    }


def _point(one: Configuration, look: Look, column: Column, scale: float, on_front: bool) -> Trace:
    return {
        **look.entry(one.label),
        "mode": "markers",
        "marker": {
            "color": look.color,
            "symbol": look.marker if on_front else f"{look.marker}-open",
            "size": 13,
            "line": {"width": 2},
        },
        "cliponaxis": False,
        "hovertemplate": f"{escaped(one.label)}<br>loss %{{y}}<br>{one.text(column.name)}<extra></extra>",
        "x": rounded([_value(one, column) / scale], 7),
        "y": rounded([one.loss or np.nan], 7),
        **({"error_y": {"type": "data", "array": rounded([one.loss_sd]), "color": look.color}} if one.loss_sd else {}),
    }


def bars(answer: Answer, column: Column) -> Plot | None:
    """A metric as bars, one for each configuration that has it."""
    shown = [one for one in answer.compared if one.results[column.name] is not None]
    if not shown:
        return None
    scale, title = axis(column)
    look = looks(answer.compared)
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escaped(one.label) for one in shown],
        "x": rounded([_value(one, column) / scale for one in shown]),
        "text": [one.text(column.name) for one in shown],
        "textposition": "auto",
        "marker": {"color": [look[one.label].color for one in shown]},
        "hovertemplate": f"%{{y}}: %{{x}} {escaped(column.label)}<extra></extra>",
    }
    layout = {
        "yaxis": {"type": "category", "autorange": "reversed"},
        "showlegend": False,
        "height": max(420, 26 * len(shown)),
    }
    caption = f"{capitalized(column.meaning)}; the {column.shown_as.over_seeds} over seeds.{which_is_better(column)}"
    return Plot(f"bars-{column.name}", capitalized(column.label), caption, figure([trace], title, "", **layout))


def _value(one: Configuration, column: Column) -> float:
    value = one.results[column.name]
    return np.nan if value is None else value
