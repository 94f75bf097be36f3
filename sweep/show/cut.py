"""Losses of the largest rank cut to smaller ones: a column of the table, and dotted lines in a plot."""

from collections.abc import Sequence

from sweep.answer.answer import Answer, Configuration
from sweep.show.drawing import Trace, escaped, rounded
from sweep.show.looks import GREY


def name_of(answer: Answer) -> str | None:
    """The label for losses of cut adapters; None if none was measured."""
    sources = {one.cut_from for one in answer.compared if one.cut_from}
    ranks = {answer.configuration(label).lora_r for label in sources}
    if not ranks:
        return None
    return f"cut from r={ranks.pop()}" if len(ranks) == 1 else "cut from the largest rank"


def caption(answer: Answer) -> str:
    name = name_of(answer)
    if name is None:
        return ""
    return (
        f" Dotted: {name}, its trained adapter reduced to the rank by SVD without further training. If that is lower, it is a "
        "sign that the learning rate or the number of steps holds the rank back, not its size."
    )


def lines(answer: Answer, families: Sequence[Sequence[Configuration]]) -> list[Trace]:
    """A dotted line for each family of configurations that differ in rank, ending at the trained largest rank."""
    name = name_of(answer)
    traces: list[Trace] = []
    for members in families:
        cut = [(one, one.cut_loss) for one in members if one.cut_loss is not None]
        if name and cut:
            source = answer.configuration(cut[0][0].cut_from or "")
            traces.append(_line(name, [*cut, (source, source.loss or float("nan"))], first=not traces))
    return traces


def _line(name: str, points: Sequence[tuple[Configuration, float]], first: bool) -> Trace:
    return {
        "name": escaped(name),
        "mode": "lines+markers",
        "line": {"color": GREY, "dash": "dot", "width": 1.5},
        "marker": {"color": GREY, "symbol": "diamond-open", "size": [9] * (len(points) - 1) + [0]},
        "x": [one.lora_r for one, _ in points],
        "y": rounded([loss for _, loss in points], 7),
        "hovertemplate": f"{escaped(name)} to r=%{{x}}: %{{y}}<extra></extra>",
        "legendgroup": escaped(name),
        "showlegend": first,
    }
