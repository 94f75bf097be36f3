"""Plots by optimizer step: loss and memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.answer.parts import Answer, Configuration
from sweep.show import curves
from sweep.show.drawing import Plot, Trace, figure, look, text
from sweep.statistics.stats import Floats

if TYPE_CHECKING:
    import pandas as pd


def by_trial(steps: "pd.DataFrame") -> dict[str, "pd.DataFrame"]:
    """The step rows of each trial."""
    return {str(name): frame for name, frame in steps.groupby("trial_id", sort=False)}


def losses(answer: Answer, steps: Mapping[str, "pd.DataFrame"]) -> Plot | None:
    traces: list[Trace] = []
    points = curves.budget(len(steps))
    window = max((curves.window_for(len(frame)) for frame in steps.values()), default=1)
    for index, one in enumerate(answer.configurations):
        own = [steps[name] for name in _started(answer, one) if name in steps]
        if own:
            traces += _configuration_loss(one.label, look(index), own, points, window)
    if not traces:
        return None
    caption = (
        f"Training loss, a centred moving mean over up to {window} steps. Where there are several seeds, the line is "
        "their mean and the band goes from their lowest to their highest."
    )
    return Plot("loss", "Loss by step", caption, figure(traces, "optimizer step", "training loss"), raw=True)


def held_out(answer: Answer, steps: Mapping[str, "pd.DataFrame"]) -> Plot | None:
    """Held-out loss on the steps where it was measured (`--eval_strategy`): a line for each trial."""
    traces: list[Trace] = []
    for index, one in enumerate(answer.configurations):
        color, dash, marker = look(index)
        measured = {
            name: steps[name][steps[name]["eval_loss"].notna()] for name in _started(answer, one) if name in steps
        }
        drawn = [(name, frame) for name, frame in measured.items() if len(frame)]
        traces += [
            {
                "name": text(one.label),
                "legendgroup": text(one.label),
                "showlegend": place == 0,
                "mode": "lines+markers",
                "line": {"color": color, "dash": dash, "width": 1.5},
                "marker": {"symbol": marker, "size": 6},
                "x": [int(step) for step in frame["step"]],
                "y": curves.rounded(frame["eval_loss"].to_numpy(dtype=float)),
                "hovertext": text(name),
            }
            for place, (name, frame) in enumerate(drawn)
        ]
    if not traces:
        return None
    caption = "Held-out loss where it was measured during training; one line per trial. Lower is better."
    return Plot("held-out", "Held-out loss by step", caption, figure(traces, "optimizer step", "held-out loss"))


def _started(answer: Answer, one: Configuration) -> list[str]:
    """Its trials, with those that run or ended early."""
    return [*one.trials, *(lost.trial_id for lost in answer.outcomes if lost.label == one.label)]


def _configuration_loss(
    label: str, style: tuple[str, str, str], frames: Sequence["pd.DataFrame"], points: int, window: int
) -> list[Trace]:
    color, dash, _ = style
    steps, losses = _aligned(frames, "loss")
    smoothed = curves.smooth(losses, window)
    mean = _quiet(np.nanmean, smoothed)
    kept = curves.thin(mean, points)
    line = {"color": color, "dash": dash, "width": 2}
    shared = {"legendgroup": text(label), "x": _whole(steps, kept)}
    traces: list[Trace] = []
    if len(frames) > 1:
        low, high = _quiet(np.nanmin, smoothed), _quiet(np.nanmax, smoothed)
        edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip", **shared}
        traces += [
            {**edge, "y": curves.rounded(low[kept])},
            {**edge, "y": curves.rounded(high[kept]), "fill": "tonexty", "fillcolor": _faint(color)},
        ]
    traces.append(
        {
            "name": text(label),
            "mode": "lines",
            "line": line,
            "y": curves.rounded(mean[kept]),
            "meta": "smooth",
            **shared,
        }
    )
    return traces + [_raw(label, color, frame, points) for frame in frames]


def _raw(label: str, color: str, frame: "pd.DataFrame", points: int) -> Trace:
    losses = frame["loss"].to_numpy(dtype=float)
    kept = curves.thin(losses, points)
    return {
        "name": text(f"{label} raw"),
        "mode": "lines",
        "line": {"color": color, "width": 1},
        "opacity": 0.4,
        "visible": False,
        "showlegend": False,
        "legendgroup": text(label),
        "meta": "raw",
        "x": _whole(frame["step"].to_numpy(dtype=float), kept),
        "y": curves.rounded(losses[kept]),
    }


def _aligned(frames: Sequence["pd.DataFrame"], column: str) -> tuple[Floats, Floats]:
    """Steps that any has, and each frame's values there: shapes (steps,) and (frames, steps), NaN where it has none."""
    series = [frame.set_index(frame["step"].astype(int))[column].astype(float) for frame in frames]
    steps = np.unique(np.concatenate([one.index.to_numpy() for one in series])).astype(float)
    return steps, np.stack([one.reindex(steps.astype(int)).to_numpy(dtype=float) for one in series])


def _quiet(reduce: Callable[..., Any], values: Floats) -> Floats:
    """Over the first axis; NaN where all are NaN."""
    result = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    result[known] = reduce(values[:, known], axis=0)
    return result


def _whole(steps: Floats, kept: Sequence[int]) -> list[int]:
    return [int(step) for step in steps[list(kept)]]


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def memory(answer: Answer, steps: Mapping[str, "pd.DataFrame"]) -> Plot | None:
    """Memory by step: the GPU's, or where there is none the process's, under its own name."""
    for column, title, caption in (
        (
            "memory_allocated_bytes",
            "GPU memory by step",
            "torch.cuda.memory_allocated after each step; one line per trial.",
        ),
        (
            "peak_rss_bytes",
            "Process memory by step",
            "No GPU: peak resident memory of the trial's process on the host so far; one line per trial.",
        ),
    ):
        traces = [
            trace
            for index, one in enumerate(answer.configurations)
            for trace in _trial_lines(answer, one, index, steps, column)
        ]
        if traces:
            axis = {"rangemode": "tozero", "ticksuffix": " GB"}
            return Plot("memory-steps", title, caption, figure(traces, "optimizer step", "memory", yaxis=axis))
    return None


def _trial_lines(
    answer: Answer, one: Configuration, index: int, steps: Mapping[str, "pd.DataFrame"], column: str
) -> list[Trace]:
    color, dash, _ = look(index)
    traces: list[Trace] = []
    for name in _started(answer, one):
        values = steps[name][column].to_numpy(dtype=float, na_value=np.nan) if name in steps else np.array([])
        if np.isnan(values).all():
            continue
        kept = curves.thin(values, curves.budget(len(steps)))
        traces.append(
            {
                "name": text(one.label),
                "legendgroup": text(one.label),
                "showlegend": not traces,
                "mode": "lines",
                "line": {"color": color, "dash": dash, "width": 1.5},
                "x": _whole(steps[name]["step"].to_numpy(dtype=float), kept),
                "y": curves.rounded(values[kept] / 1e9),
                "hovertext": text(name),
            }
        )
    return traces
