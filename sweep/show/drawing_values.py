"""The plot of the loss against the tuned setting or the learning rate, by rank."""

from collections.abc import Sequence

from sweep.answer.answer import Answer, Configuration
from sweep.answer.groups import RATE, text_of
from sweep.common.formatting import capitalized, share
from sweep.show.cells import rank_of
from sweep.show.drawing import Plot, Trace, escaped, figure, rounded
from sweep.show.drawing_ranks import margin_band
from sweep.show.looks import Look, looks
from sweep.store.columns import METRICS

_MARK, _BEST = 8, 16  # sizes in pixels


def by_value(answer: Answer) -> Plot | None:
    """Loss against the tuned setting, or against the learning rate if the grid has several: a line for each rank."""
    key = answer.tuned.key if answer.tuned else RATE
    lines = _lines(answer.configurations, key)
    look = looks([members[0] for members in lines.values()])
    measured = {name: [one for one in members if _loss(one) is not None] for name, members in lines.items()}
    drawn = [one for members in measured.values() for one in members]
    values = sorted({_number(one, key) for one in drawn})
    if answer.metric is None or len(values) < 2:
        return None
    traces = [_line(name, own, key, look[lines[name][0].label]) for name, own in measured.items() if own]
    ticks = {"tickvals": values, "ticktext": [text_of(value) for value in values]}
    layout = {
        "xaxis": {"type": "log" if values[0] > 0 else "linear", **ticks},
        "shapes": [margin_band(min(_loss(one) or 0.0 for one in drawn), answer.margin)],
    }
    label = METRICS[answer.metric].label
    picture = figure(traces, escaped(key), label, **layout)
    return Plot("values", f"{capitalized(label)} by {key}", _caption(answer, key), picture)


def _caption(answer: Answer, key: str) -> str:
    if answer.tuned:
        means = f"the star is its {key} in the comparison. Means are over the seeds that all values of a rank share"
    else:
        means = "the star is its lowest mean over seeds"
    return (
        f"Each line is one rank; {means}; the band is the margin of {share(answer.margin)} above the lowest. Trials without a "
        "loss, such as those that diverged, have no point. Lower is better."
    )


def _lines(configurations: Sequence[Configuration], key: str) -> dict[str, list[Configuration]]:
    """Groups configurations that differ only in the setting, with its values ascending, by the rest of their labels."""
    found: dict[str, list[Configuration]] = {}
    for one in configurations:
        if isinstance(one.value(key), int | float):
            found.setdefault(rank_of(one, key), []).append(one)
    return {name: sorted(members, key=lambda one: _number(one, key)) for name, members in found.items()}


def _number(one: Configuration, key: str) -> float:
    return float(one.value(key) or 0.0)


def _loss(one: Configuration) -> float | None:
    return one.loss if one.tuned is None else one.tuning_loss


def _line(name: str, members: Sequence[Configuration], key: str, look: Look) -> Trace:
    losses = [_loss(one) or float("nan") for one in members]
    best = next((place for place, one in enumerate(members) if one.tuned), losses.index(min(losses)))
    marks = [(_BEST, "star") if place == best else (_MARK, look.marker) for place in range(len(members))]
    return {
        **look.entry(name),
        "mode": "lines+markers",
        "line": {**look.line, "width": 2},
        "marker": {"color": look.color, "size": [size for size, _ in marks], "symbol": [symbol for _, symbol in marks]},
        "x": [_number(one, key) for one in members],
        "y": rounded(losses, 7),
        "hovertext": [escaped(one.label) for one in members],
        "hovertemplate": "%{hovertext}: %{y}<extra></extra>",
    }
