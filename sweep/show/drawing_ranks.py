"""The picture of the answer: the compared loss against the rank, with what is known of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweep.answer.answer import Answer, Configuration
from sweep.common.formatting import share
from sweep.show.drawing import Plot, Trace, capitalized, figure, look, rounded, text
from sweep.store.columns import METRICS

if TYPE_CHECKING:
    import pandas as pd

BAND = "rgba(128,128,128,0.18)"
BESIDE = 1.06  # a seed's dot stands beside the mean's bar, which would hide it


def by_rank(answer: Answer, trials: "pd.DataFrame") -> Plot | None:
    """Loss against rank (log₂): each seed a dot, the bound a bar, the margin a band, full fine-tuning a line."""
    shown = [one for one in answer.configurations if one.loss is not None]
    ranked = [one for one in shown if one.lora_r is not None]
    if answer.metric is None or len(shown) < 2 or not ranked:
        return None
    lowest = min(one.loss for one in shown if one.loss is not None)
    by_seed = _by_trial(trials, answer.metric)
    traces: list[Trace] = []
    for index, members in enumerate(_families(ranked)):
        traces += _family(members, look(index), lowest, by_seed)
    traces += [_full(one, ranked) for one in shown if one.lora_r is None]
    ranks = sorted({one.lora_r for one in ranked if one.lora_r is not None})
    layout = {
        "xaxis": {"type": "log", "tickvals": ranks, "ticktext": [str(rank) for rank in ranks]},
        "shapes": [_margin(lowest, answer.margin)],
    }
    label = METRICS[answer.metric].label
    return Plot(
        "ranks", f"{capitalized(label)} by rank", _caption(answer), figure(traces, "LoRA rank", label, **layout)
    )


def _caption(answer: Answer) -> str:
    bars = (
        f"a bar reaches from the least to the most that it can be, by its bounds above the best at {share(answer.confidence)} "
        "confidence; "
        if answer.basis != "none"
        else ""
    )
    return (
        f"A dot is one seed, a larger mark the mean of a rank's; {bars}the band is the margin of {share(answer.margin)} above "
        "the lowest mean. Lower is better."
    )


def _by_trial(trials: "pd.DataFrame", metric: str) -> dict[str, float]:
    if metric not in trials:
        return {}
    known = trials[trials[metric].notna()]
    return dict(zip(known["trial_id"].astype(str), known[metric].astype(float), strict=True))


def _families(ranked: Sequence[Configuration]) -> list[list[Configuration]]:
    """Configurations that differ in the rank alone, in the order of their ranks."""
    found: dict[tuple[Any, ...], list[Configuration]] = {}
    for one in sorted(ranked, key=lambda one: one.lora_r or 0):
        found.setdefault(tuple(one.axes.items()), []).append(one)
    return list(found.values())


def _family(
    members: Sequence[Configuration], style: tuple[str, str, str], lowest: float, by_seed: Mapping[str, float]
) -> list[Trace]:
    color, dash, marker = style
    name = ", ".join(f"{key} {value}" for key, value in members[0].axes.items()) or "mean over seeds"
    line = {
        "name": text(name),
        "mode": "lines+markers",
        "line": {"color": color, "dash": dash, "width": 1.5},
        "marker": {"color": color, "symbol": marker, "size": 11},
        "x": [one.lora_r for one in members],
        "y": rounded([one.loss or float("nan") for one in members], 7),
        "hovertemplate": "r=%{x}: %{y}<extra></extra>",
        "legendgroup": text(name),
        **_bars(members, color, lowest),
    }
    return [line, _dots(members, color, name, by_seed)]


def _bars(members: Sequence[Configuration], color: str, lowest: float) -> dict[str, Any]:
    """Error bars from the bounds above the best, as losses; none where a configuration has no bound."""
    up, down = [], []
    for one in members:
        mean, found = one.loss or float("nan"), one.comparison
        upper = found.upper if found and found.upper is not None else None
        up.append(max(lowest * (1 + upper) - mean, 0.0) if upper is not None else 0.0)
        down.append(max(mean - lowest * (1 + (found.lower or 0.0)), 0.0) if found and upper is not None else 0.0)
    if not any(up):
        return {}
    return {
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded(up, 7),
            "arrayminus": rounded(down, 7),
            "color": color,
            "thickness": 1.5,
        }
    }


def _dots(members: Sequence[Configuration], color: str, name: str, by_seed: Mapping[str, float]) -> Trace:
    places = [(one.lora_r or 0, by_seed[trial]) for one in members for trial in one.trials if trial in by_seed]
    return {
        "name": text("each seed" if not members[0].axes else f"{name}, each seed"),
        "mode": "markers",
        "marker": {"color": color, "size": 7, "symbol": "circle-open"},
        "x": [round(rank * BESIDE, 4) for rank, _ in places],
        "y": rounded([loss for _, loss in places], 7),
        "hovertext": [f"r={rank}" for rank, _ in places],
        "hovertemplate": "one seed, %{hovertext}: %{y}<extra></extra>",
        "legendgroup": text(name),
    }


def _full(one: Configuration, ranked: Sequence[Configuration]) -> Trace:
    """Full fine-tuning has no rank: a line across all of them."""
    ranks = [other.lora_r for other in ranked if other.lora_r is not None]
    return {
        "name": text(one.label),
        "mode": "lines",
        "line": {"color": "#888888", "dash": "dash", "width": 2},
        "x": [min(ranks), max(ranks)],
        "y": rounded([one.loss or float("nan")] * 2, 7),
        "hovertemplate": f"{text(one.label)}: %{{y}}<extra></extra>",
    }


def _margin(lowest: float, margin: float) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": lowest,
        "y1": lowest * (1 + margin),
        "fillcolor": BAND,
        "line": {"width": 0},
        "layer": "below",
    }
