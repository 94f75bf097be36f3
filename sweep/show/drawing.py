"""What the report's plots share: Plotly figures as plain data, one look per configuration, told by more than colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Figure = dict[str, Any]
Trace = dict[str, Any]

# Okabe and Ito's colours without their yellow and black, which are lost on white and on dark.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")


@dataclass(frozen=True)
class Plot:
    """A figure with its place on the page. `raw` says whether it has raw curves to be shown on demand."""

    name: str
    title: str
    caption: str
    figure: Figure
    raw: bool = False


def look(index: int) -> tuple[str, str, str]:
    """Colour, dash and marker of a configuration; no two of the first 24 are the same in all."""
    return (
        _COLORS[index % len(_COLORS)],
        _DASHES[(index + index // len(_COLORS)) % len(_DASHES)],
        _MARKERS[index % len(_MARKERS)],
    )


def text(label: str) -> str:
    """A label that Plotly shows as it is: it reads tags in its texts."""
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
