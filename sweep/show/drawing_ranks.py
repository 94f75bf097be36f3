"""The plot of the answer: the compared loss against the rank, with seeds, bounds and margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.answer.answer import Answer, Configuration
from sweep.common.formatting import capitalized, share
from sweep.show import cut
from sweep.show.drawing import Plot, Trace, escaped, figure, rounded
from sweep.show.looks import GREY, Look, by_axes, looks, shortened
from sweep.store.columns import METRICS

if TYPE_CHECKING:
    import pandas as pd

BAND = "rgba(128,128,128,0.18)"
BESIDE = 1.06  # seeds are drawn slightly to the right of the mean, whose bar would hide them


def by_rank(answer: Answer, trials: "pd.DataFrame") -> Plot | None:
    """Loss against rank (log₂): each seed a dot, the bound a bar, the margin a band, full fine-tuning a line."""
    shown = [one for one in answer.compared if one.loss is not None]
    ranked = [one for one in shown if one.lora_r is not None]
    if answer.metric is None or len(shown) < 2 or not ranked:
        return None
    lowest = min(one.loss for one in shown if one.loss is not None)
    by_seed = _by_trial(trials, answer.metric)
    families = _families(ranked, answer.tuned.key if answer.tuned else None)
    styles = _styles(families, looks(answer.compared))
    traces = [_line(members, style, lowest) for members, style in zip(families, styles, strict=True)]
    traces += [_dots(members, style, by_seed) for members, style in zip(families, styles, strict=True)]
    traces[-1]["showlegend"] = True
    traces += cut.lines(answer, families)
    traces += [_full(one, ranked) for one in shown if one.lora_r is None]
    ranks = sorted({one.lora_r for one in ranked if one.lora_r is not None})
    layout = {
        "xaxis": {"type": "log", "tickvals": ranks, "ticktext": [str(rank) for rank in ranks]},
        "shapes": [margin_band(lowest, answer.margin)],
    }
    label = METRICS[answer.metric].label
    return Plot(
        "ranks", f"{capitalized(label)} by rank", _caption(answer), figure(traces, "LoRA rank", label, **layout)
    )


def _caption(answer: Answer) -> str:
    bars = (
        f"a bar shows the range of losses that its bounds above the best allow at {share(answer.confidence)} "
        "confidence; "
        if answer.basis != "none"
        else ""
    )
    best = f", each rank at its best {answer.tuned.key}" if answer.tuned else ""
    return (
        f"A dot is one seed, a larger mark the mean of a rank's{best}; {bars}the band is the margin of {share(answer.margin)} above "
        f"the lowest mean. Lower is better.{cut.caption(answer)}"
    )


def _by_trial(trials: "pd.DataFrame", metric: str) -> dict[str, float]:
    if metric not in trials:
        return {}
    known = trials[trials[metric].notna()]
    return dict(zip(known["trial_id"].astype(str), known[metric].astype(float), strict=True))


def _families(ranked: Sequence[Configuration], tuned: str | None) -> list[list[Configuration]]:
    """Groups configurations that differ only in rank, and in the value chosen for it, in order of rank."""
    found: dict[tuple[Any, ...], list[Configuration]] = {}
    for one in sorted(ranked, key=lambda one: one.lora_r or 0):
        found.setdefault(tuple(pair for pair in one.axes.items() if pair[0] != tuned), []).append(one)
    return sorted(found.values(), key=lambda members: by_axes(members[0]))


@dataclass(frozen=True)
class _Style:
    """A family's line and marks. With several families, marks have their ranks' colors and each line its own dash."""

    name: str
    line: str
    marks: list[str]
    dash: str
    symbol: str


def _styles(families: Sequence[Sequence[Configuration]], look: Mapping[str, Look]) -> list[_Style]:
    if len(families) == 1:
        color = look[families[0][0].label].color
        return [_Style("mean over seeds", color, [color] * len(families[0]), "solid", "circle")]
    firsts = [members[0] for members in families]
    names = [
        look[one.label].further or ", ".join(f"{key}={value}" for key, value in one.axes.items()) for one in firsts
    ]
    marks = [[look[one.label].color for one in members] for members in families]
    return [
        _Style(name, GREY, own, look[one.label].dash, look[one.label].marker)
        for name, own, one in zip(shortened(names), marks, firsts, strict=True)
    ]


def _line(members: Sequence[Configuration], style: _Style, lowest: float) -> Trace:
    return {
        "name": escaped(style.name),
        "mode": "lines+markers",
        "line": {"color": style.line, "dash": style.dash, "width": 1.5},
        "marker": {"color": style.marks, "symbol": style.symbol, "size": 11},
        "x": [one.lora_r for one in members],
        "y": rounded([one.loss or float("nan") for one in members], 7),
        "hovertext": [escaped(one.label) for one in members],
        "hovertemplate": "%{hovertext}: %{y}<extra></extra>",
        "legendgroup": escaped(style.name),
        **_bars(members, style.line, lowest),
    }


def _bars(members: Sequence[Configuration], color: str, lowest: float) -> dict[str, Any]:
    """Error bars from the bounds above the best, as losses; none if no configuration has a bound."""
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


def _dots(members: Sequence[Configuration], style: _Style, by_seed: Mapping[str, float]) -> Trace:
    places = [
        (one.lora_r or 0, by_seed[trial], one.label, color)
        for one, color in zip(members, style.marks, strict=True)
        for trial in one.trials
        if trial in by_seed
    ]
    return {
        "name": "each seed",
        "mode": "markers",
        "marker": {"color": [color for *_, color in places], "size": 7, "symbol": f"{style.symbol}-open"},
        "x": [round(rank * BESIDE, 4) for rank, *_ in places],
        "y": rounded([loss for _, loss, *_ in places], 7),
        "hovertext": [escaped(label) for *_, label, _ in places],
        "hovertemplate": "one seed, %{hovertext}: %{y}<extra></extra>",
        "legendgroup": escaped(style.name),
        "showlegend": False,
    }


def _full(one: Configuration, ranked: Sequence[Configuration]) -> Trace:
    """Full fine-tuning has no rank: a line across all of them."""
    ranks = [other.lora_r for other in ranked if other.lora_r is not None]
    return {
        "name": escaped(one.label),
        "mode": "lines",
        "line": {"color": GREY, "dash": "dash", "width": 2},
        "x": [min(ranks), max(ranks)],
        "y": rounded([one.loss or float("nan")] * 2, 7),
        "hovertemplate": f"{escaped(one.label)}: %{{y}}<extra></extra>",
    }


def margin_band(lowest: float, margin: float) -> dict[str, Any]:
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
