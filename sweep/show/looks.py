"""How each configuration is drawn: its color stands for its rank, dash and marker for its other values.

So a legend has an entry for each rank and one for each other value, not one for each of fifteen configurations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.answer.answer import Configuration
from sweep.show.drawing import Trace, escaped

# Okabe and Ito's colors, with two others in place of yellow and black, which are invisible on white and on dark pages.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C6D31", "#7B68EE")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
GREY = "#888888"


@dataclass(frozen=True)
class Look:
    """A configuration's look.

    Attributes:
        group: its rank, whose traces a click in the legend shows or hides together.
        further: what dash and marker stand for; empty if each rank has only one configuration, and its own dash and marker.
    """

    color: str
    dash: str
    marker: str
    group: str
    further: str = ""

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.color, "dash": self.dash}

    def entry(self, label: str, first: bool = True) -> Trace:
        """A trace's name and legend entry: its rank's, or none if `legend` makes the entries."""
        shown = {} if first and not self.further else {"showlegend": False}
        return {"name": escaped(label if self.further else self.group), "legendgroup": escaped(self.group), **shown}


def looks(configurations: Sequence[Configuration]) -> dict[str, Look]:
    """Each configuration's look, by label. If only ranks differ, the first 24 are all distinct."""
    ranks = {one.label: rank(one) for one in configurations}
    places = {name: place for place, name in enumerate(dict.fromkeys(ranks.values()))}
    if len(places) == len(ranks):
        return {label: _look(place, place + place // len(_COLORS), ranks[label]) for place, label in enumerate(ranks)}
    further = {one.label: one.label.removeprefix(rank(one)).strip() or "default" for one in configurations}
    order = {further[one.label]: None for one in sorted(configurations, key=by_axes)}
    dashes = {name: place for place, name in enumerate(order)}
    return {
        label: _look(places[name], dashes[further[label]], name, further[label], dashes[further[label]])
        for label, name in ranks.items()
    }


def rank(one: Configuration) -> str:
    return "full" if one.lora_r is None else f"r={one.lora_r}"


def _look(color: int, dash: int, group: str, further: str = "", marker: int | None = None) -> Look:
    return Look(
        _COLORS[color % len(_COLORS)],
        _DASHES[dash % len(_DASHES)],
        _MARKERS[(color if marker is None else marker) % len(_MARKERS)],
        group,
        further,
    )


def by_axes(one: Configuration) -> list[tuple[str, Any]]:
    """Sort key: the values of a configuration's axes."""
    values = (*one.axes.values(), one.lora_alpha or 0.0)
    return [(str(type(value)), value if isinstance(value, int | float | str) else str(value)) for value in values]


def legend(shown: Iterable[Look], mode: str = "lines") -> list[Trace]:
    """Separate legend entries: a color for each rank, a dash or marker for each other value. Empty if only ranks vary."""
    apart = [one for one in shown if one.further]
    ranks = {one.group: Look(one.color, "solid", "circle", one.group) for one in apart}
    others = {one.further: one for one in sorted(apart, key=_by_dash)}
    further = [
        Look(GREY, one.dash, one.marker, name)
        for one, name in zip(others.values(), shortened(list(others)), strict=True)
    ]
    return [_entry(one, mode) for one in (*ranks.values(), *further)]


def shortened(names: Sequence[str]) -> list[str]:
    """learning_rate=0.001, 0.003, 0.01: names the setting once if all share it, so that the legend fits on a phone."""
    keys = {name.partition("=")[0] for name in names}
    if len(keys) > 1 or any(name.count("=") != 1 for name in names):
        return list(names)
    return [*names[:1], *(name.partition("=")[2] for name in names[1:])]


def _by_dash(one: Look) -> tuple[int, int]:
    return _MARKERS.index(one.marker), _DASHES.index(one.dash)


def _entry(one: Look, mode: str) -> Trace:
    return {
        **one.entry(one.group),
        "mode": mode,
        "line": {**one.line, "width": 2},
        "marker": {"color": one.color, "symbol": one.marker, "size": 9},
        "x": [None],
        "y": [None],
        "hoverinfo": "skip",
    }
