"""Plots by configuration: loss against what it costs, and throughput."""

from collections.abc import Sequence

import numpy as np

from sweep.answer.metrics import METRICS, number, size
from sweep.answer.parts import Answer, Configuration
from sweep.show import curves
from sweep.show.drawing import Plot, Trace, figure, look, text


def against(answer: Answer, column: str, name: str, title: str) -> Plot | None:
    """Loss against a cost, with the configurations that no other beats in both joined by a line."""
    front = next((one for one in answer.fronts if one.metrics == ("loss", column)), None)
    shown = [one for one in answer.configurations if one.loss is not None and getattr(one, column) is not None]
    if front is None or answer.metric is None or not shown:
        return None
    scale, unit = (1e9, "GB") if column.endswith("_bytes") else (1.0, "s")
    traces = [_front_line([one for one in shown if one.label in front.labels], column, scale)]
    traces += [
        _point(one, look(answer.configurations.index(one)), column, scale, one.label in front.labels) for one in shown
    ]
    caption = (
        f"{METRICS[answer.metric].label.capitalize()} against {METRICS[column].label}, both better when lower. "
        f"On the Pareto front, filled and joined by the line: {', '.join(front.labels)}."
    )
    return Plot(name, title, caption, figure(traces, f"{METRICS[column].label} ({unit})", METRICS[answer.metric].label))


def _front_line(on_front: Sequence[Configuration], column: str, scale: float) -> Trace:
    ordered = sorted(on_front, key=lambda one: float(getattr(one, column)))
    return {
        "name": "Pareto front",
        "mode": "lines",
        "line": {"color": "#888888", "dash": "dot", "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
        "x": curves.rounded([getattr(one, column) / scale for one in ordered], 7),
        "y": curves.rounded([one.loss or np.nan for one in ordered], 7),
    }


def _point(one: Configuration, style: tuple[str, str, str], column: str, scale: float, on_front: bool) -> Trace:
    color, _, marker = style
    value = getattr(one, column)
    shown = size(value) if column.endswith("_bytes") else number(column, value)
    return {
        "name": text(one.label),
        "mode": "markers",
        "marker": {
            "color": color,
            "symbol": marker if on_front else f"{marker}-open",
            "size": 13,
            "line": {"width": 2},
        },
        "cliponaxis": False,
        "hovertemplate": f"{text(one.label)}<br>loss %{{y}}<br>{shown}<extra></extra>",
        "x": curves.rounded([value / scale], 7),
        "y": curves.rounded([one.loss or np.nan], 7),
        **(
            {"error_y": {"type": "data", "array": curves.rounded([one.loss_sd]), "color": color}} if one.loss_sd else {}
        ),
    }


def throughput(answer: Answer) -> Plot | None:
    shown = [one for one in answer.configurations if one.train_samples_per_second is not None]
    if not shown:
        return None
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [text(one.label) for one in shown],
        "x": curves.rounded([one.train_samples_per_second or np.nan for one in shown]),
        "text": [number("train_samples_per_second", one.train_samples_per_second) for one in shown],
        "textposition": "auto",
        "marker": {"color": [look(answer.configurations.index(one))[0] for one in shown]},
        "hovertemplate": "%{y}: %{x} samples/s<extra></extra>",
    }
    axis = {"type": "category", "autorange": "reversed"}
    caption = "Samples trained on per second of training time, the mean over seeds; higher is faster."
    return Plot(
        "throughput", "Throughput", caption, figure([bars], "samples per second", "", yaxis=axis, showlegend=False)
    )
