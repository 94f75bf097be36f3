"""Plots by optimizer step: smoothed training loss, and every step metric that is shown as a curve."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.answer.answer import Answer, Configuration
from sweep.common.column import Column, is_shown
from sweep.common.formatting import capitalized
from sweep.show.drawing import (
    Plot,
    Trace,
    axis,
    budget,
    escaped,
    figure,
    rounded,
    smooth,
    thin,
    which_is_better,
    window_for,
)
from sweep.show.looks import Look, legend, looks
from sweep.statistics.stats import Floats
from sweep.store.columns import STEP_METRICS

if TYPE_CHECKING:
    import pandas as pd


def by_trial(steps: "pd.DataFrame") -> dict[str, "pd.DataFrame"]:
    """The step rows of each trial."""
    return {str(name): frame for name, frame in steps.groupby("trial_id", sort=False)}


def losses(answer: Answer, steps: Mapping[str, "pd.DataFrame"]) -> Plot | None:
    traces: list[Trace] = []
    points = budget(len(steps))
    window = max((window_for(len(frame)) for frame in steps.values()), default=1)
    drawn = []
    for label, look in looks(answer.compared).items():
        own = [steps[name] for name in _started(answer, answer.configuration(label)) if name in steps]
        if own:
            traces += _configuration_loss(label, look, own, points, window)
            drawn.append(look)
    if not traces:
        return None
    traces += legend(drawn)
    caption = (
        f"Training loss, a centered moving mean over up to {window} steps. With several seeds, the line is "
        "their mean and the band spans the lowest to the highest."
    )
    return Plot("loss", "Loss by step", caption, figure(traces, "optimizer step", STEP_METRICS["loss"].label), raw=True)


def _started(answer: Answer, one: Configuration) -> list[str]:
    """All its trials, including those that are running or ended early."""
    return [*one.trials, *(lost.trial_id for lost in answer.outcomes if lost.label == one.label)]


def _configuration_loss(
    label: str, look: Look, frames: Sequence["pd.DataFrame"], points: int, window: int
) -> list[Trace]:
    steps, losses = _aligned(frames, "loss")
    smoothed = smooth(losses, window)
    mean = _over_known(np.nanmean, smoothed)
    kept = thin(mean, points)
    shared = {**look.entry(label), "mode": "lines", "x": _whole(steps, kept)}
    traces: list[Trace] = []
    if len(frames) > 1:
        low, high = _over_known(np.nanmin, smoothed), _over_known(np.nanmax, smoothed)
        edge = {**shared, "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        traces += [
            {**edge, "y": rounded(low[kept])},
            {**edge, "y": rounded(high[kept]), "fill": "tonexty", "fillcolor": _faint(look.color)},
        ]
    traces.append({**shared, "line": {**look.line, "width": 2}, "y": rounded(mean[kept]), "meta": "smooth"})
    return traces + [_raw(label, look, frame, points) for frame in frames]


def _raw(label: str, look: Look, frame: "pd.DataFrame", points: int) -> Trace:
    losses = frame["loss"].to_numpy(dtype=float)
    kept = thin(losses, points)
    return {
        **look.entry(f"{label} raw", first=False),
        "mode": "lines",
        "line": {"color": look.color, "width": 1},
        "opacity": 0.4,
        "visible": False,
        "meta": "raw",
        "x": _whole(frame["step"].to_numpy(dtype=float), kept),
        "y": rounded(losses[kept]),
    }


def _aligned(frames: Sequence["pd.DataFrame"], column: str) -> tuple[Floats, Floats]:
    """The union of the steps, and each frame's values: shapes (steps,) and (frames, steps), NaN where a frame has none."""
    series = [frame.set_index(frame["step"].astype(int))[column].astype(float) for frame in frames]
    steps = np.unique(np.concatenate([one.index.to_numpy() for one in series])).astype(float)
    return steps, np.stack([one.reindex(steps.astype(int)).to_numpy(dtype=float) for one in series])


def _over_known(reduce: Callable[..., Any], values: Floats) -> Floats:
    """Reduces the first axis; NaN where all values are NaN."""
    result = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    result[known] = reduce(values[:, known], axis=0)
    return result


def _whole(steps: Floats, kept: Sequence[int]) -> list[int]:
    return [int(step) for step in steps[list(kept)]]


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def curve(answer: Answer, steps: Mapping[str, "pd.DataFrame"], column: Column) -> Plot | None:
    """A metric by step, where it was measured: one line per trial."""
    styles = looks(answer.compared)
    own = {label: _trial_lines(answer, label, look, steps, column) for label, look in styles.items()}
    traces = [trace for lines in own.values() for trace in lines]
    if not traces:
        return None
    traces += legend(styles[label] for label, lines in own.items() if lines)
    scale, title = axis(column)
    layout = {"yaxis": {"rangemode": "tozero"}} if scale > 1 else {}
    caption = f"{capitalized(column.meaning)}; one line per trial.{which_is_better(column)}"
    drawn = figure(traces, "optimizer step", title, **layout)
    return Plot(f"curve-{column.name}", f"{capitalized(column.label)} by step", caption, drawn)


def curve_metrics(steps: "pd.DataFrame") -> list[Column]:
    """The step metrics that are shown as curves and were measured in any trial."""
    measured = {name for name in STEP_METRICS if name in steps and steps[name].notna().any()}
    return [STEP_METRICS[name] for name in STEP_METRICS if is_shown(STEP_METRICS[name], "curves", measured)]


def _trial_lines(
    answer: Answer, label: str, look: Look, steps: Mapping[str, "pd.DataFrame"], column: Column
) -> list[Trace]:
    scale, _ = axis(column)
    traces: list[Trace] = []
    for name in _started(answer, answer.configuration(label)):
        if name not in steps or not len(frame := steps[name][steps[name][column.name].notna()]):
            continue
        values = frame[column.name].to_numpy(dtype=float)
        kept = thin(values, budget(len(steps)))
        everywhere = len(frame) == len(steps[name])
        traces.append(
            {
                **look.entry(label, first=not traces),
                "mode": "lines" if everywhere else "lines+markers",
                "line": {**look.line, "width": 1.5},
                "marker": {"symbol": look.marker, "size": 6},
                "x": _whole(frame["step"].to_numpy(dtype=float), kept),
                "y": rounded(values[kept] / scale),
                "hovertext": escaped(name),
            }
        )
    return traces
