"""What the report's plots share: Plotly figures as plain data, and thinning of long curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from sweep.common.column import Column
from sweep.statistics.stats import Floats

Figure = dict[str, Any]
Trace = dict[str, Any]

LONGEST = 600  # points per curve: more than a phone has pixels
TOTAL = 24_000  # points of all curves of a plot: keeps the page below 6 MB however many trials there are
_AXES = {"bytes": (1e9, "GB"), "s": (1.0, "s")}  # by unit: the divisor of values, and the resulting unit


@dataclass(frozen=True)
class Plot:
    """A figure with its title and caption. `raw`: whether it has raw curves to show on demand."""

    name: str
    title: str
    caption: str
    figure: Figure
    raw: bool = False


def escaped(label: str) -> str:
    """A label that Plotly shows literally; otherwise it would interpret tags."""
    return escape(label)


def figure(traces: Sequence[Trace], x: str, y: str, **layout: Any) -> Figure:
    axis = {"automargin": True, "zeroline": False}
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {"title": {"text": x, "standoff": 8}, **axis, **layout.pop("xaxis", {})},
            "yaxis": {"title": {"text": y}, **axis, **layout.pop("yaxis", {})},
            "margin": {"l": 10, "r": 10, "t": 10, "b": 50},
            "legend": {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0},
            "hovermode": "closest",
            "height": 420,
            **layout,
        },
    }


def axis(column: Column) -> tuple[float, str]:
    """The divisor of a metric's values on an axis, and the axis's title."""
    factor, unit = _AXES.get(column.unit, (1.0, ""))
    return factor, f"{column.label} ({unit})" if unit else column.label


def which_is_better(column: Column) -> str:
    """A sentence for captions: which direction is better, if either is."""
    return {"min": " Lower is better.", "max": " Higher is better.", None: ""}[column.shown_as.better]


# --- thinning curves so that they are small but keep their peaks, and smoothing them so that they can be compared ----


def budget(curves: int) -> int:
    """Points per curve, given the number of curves."""
    return max(40, min(LONGEST, TOTAL // max(1, curves)))


def thin(values: Sequence[float] | Floats, points: int) -> list[int]:
    """Which values to draw: the smallest and largest of each stretch, and both ends.

    Returns:
        Increasing indices, at most `points` + 2. NaN is never a smallest or largest.
    """
    array = np.asarray(values, dtype=float)
    if array.size <= points:
        return list(range(array.size))
    kept = {0, array.size - 1}
    for stretch in np.array_split(np.arange(array.size), max(1, points // 2)):
        known = stretch[~np.isnan(array[stretch])]
        if known.size:
            kept.add(int(known[np.argmin(array[known])]))
            kept.add(int(known[np.argmax(array[known])]))
    return sorted(kept)


def smooth(values: Floats, window: int) -> Floats:
    """Centered moving mean over `window` values, narrower towards the ends; ignores NaN.

    Args:
        values: shape (..., steps).
    """
    half = max(0, window // 2)
    known = ~np.isnan(values)
    sums = _padded(np.cumsum(np.where(known, values, 0.0), axis=-1))
    counts = _padded(np.cumsum(known, axis=-1).astype(float))
    places = np.arange(values.shape[-1])
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, values.shape[-1])
    total, count = sums[..., high] - sums[..., low], counts[..., high] - counts[..., low]
    means: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _padded(sums: Floats) -> Floats:
    return np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)


def window_for(steps: int) -> int:
    """Steps to smooth over: a fiftieth of the curve; of a short curve nine, or a fifth of it."""
    return max(1, steps // 50, min(9, steps // 5))


def rounded(values: Sequence[float] | Floats, digits: int = 5) -> list[float | None]:
    """Values with that many significant digits, None for NaN and infinity: short as JSON."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=float)]
