"""The comparison as a static picture: SVG, which the Hub shows in a model card, made without a plotting library."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader

from sweep.answer.answer import Answer, Configuration
from sweep.common.formatting import capitalized, share
from sweep.store.columns import METRICS
from sweep.store.loading import Sweep

# In pixels: the height of a row, above and below all rows; the width of the plot, its margin and a character.
_ROW, _ABOVE, _BELOW, _PLOT, _MARGIN, _CHARACTER = 36, 14, 50, 480, 24, 7.4
_PICK, _OTHER = "#0969da", "#57606a"


@dataclass(frozen=True)
class _Scale:
    """Losses to pixels."""

    low: float
    high: float
    left: float

    def x(self, loss: float) -> float:
        return round(self.left + (loss - self.low) / (self.high - self.low) * _PLOT, 1)


@dataclass(frozen=True)
class Picture:
    """A picture with its title, and a caption that explains its marks."""

    svg: str
    title: str
    caption: str


@dataclass(frozen=True)
class _Line:
    """A configuration's losses: its mean, each seed's, and its bounds above the best, if there are any."""

    label: str
    mean: float
    seeds: tuple[float, ...]
    bounds: tuple[float, ...]


def picture(sweep: Sweep, answer: Answer) -> Picture | None:
    """One line per configuration: mean, seeds, bounds and the band of the margin. None if fewer than two have a loss."""
    lines = _lines(sweep, answer)
    if len(lines) < 2:
        return None
    title = f"{_label(answer)} by configuration"
    return Picture(_drawn(answer, title, lines), title, _caption(answer))


def _lines(sweep: Sweep, answer: Answer) -> list[_Line]:
    metric = answer.metric or "eval_loss"  # without a metric, no loss is known
    known = [one for one in answer.compared if one.loss is not None and math.isfinite(one.loss)]
    by_trial = {row["trial_id"]: row.get(metric) for row in sweep.records()}
    lowest = min((one.loss for one in known if one.loss is not None), default=0.0)
    return [
        _Line(
            one.label, one.loss or 0.0, tuple(_finite(by_trial.get(name) for name in one.trials)), _bounds(one, lowest)
        )
        for one in known
    ]


def _finite(losses: Iterable[float | None]) -> list[float]:
    return [loss for loss in losses if loss is not None and math.isfinite(loss)]


def _label(answer: Answer) -> str:
    return capitalized(METRICS[answer.metric or "eval_loss"].label)


def _drawn(answer: Answer, title: str, lines: Sequence[_Line]) -> str:
    lowest = min(line.mean for line in lines)
    limit = lowest * (1 + answer.margin)
    known = [limit, *(loss for line in lines for loss in (line.mean, *line.seeds, *line.bounds))]
    scale = _scale(known, left=_MARGIN + _CHARACTER * max(len(line.label) for line in lines))
    pick = answer.recommendation.label if answer.recommendation else None
    bottom = _ABOVE + _ROW * len(lines)
    environment = Environment(loader=PackageLoader("sweep.publish"), autoescape=True, trim_blocks=True)
    return environment.get_template("comparison.svg.j2").render(
        title=title,
        width=round(scale.left + _PLOT + _MARGIN),
        height=bottom + _BELOW,
        left=round(scale.left),
        top=_ABOVE,
        bottom=bottom,
        band={"x": scale.x(lowest), "width": round(scale.x(limit) - scale.x(lowest), 1)},
        ticks=[{"x": scale.x(tick), "text": f"{tick:g}"} for tick in ticks(scale.low, scale.high)],
        rows=[_row(line, place, scale, line.label == pick) for place, line in enumerate(lines)],
        axis=_label(answer),
    )


def _row(line: _Line, place: int, scale: _Scale, pick: bool) -> dict[str, Any]:
    return {
        "label": line.label,
        "pick": pick,
        "color": _PICK if pick else _OTHER,
        "y": _ABOVE + _ROW * place + _ROW // 2,
        "mean": scale.x(line.mean),
        "seeds": [scale.x(loss) for loss in line.seeds],
        "bounds": [scale.x(end) for end in line.bounds],
    }


def _caption(answer: Answer) -> str:
    bar = f", a bar its bounds at {share(answer.confidence)} confidence" if answer.basis != "none" else ""
    return f"A dot is a mean, a ring one seed{bar}; the band is the margin of {share(answer.margin)}. Lower is better."


def _bounds(one: Configuration, lowest: float) -> tuple[float, ...]:
    """The bounds above the best, as losses; empty if the configuration has none."""
    found = one.comparison
    if found is None or found.upper is None or not math.isfinite(found.upper):
        return ()
    return lowest * (1 + (found.lower or 0.0)), lowest * (1 + found.upper)


def _scale(losses: Sequence[float], left: float) -> _Scale:
    low, high = min(losses), max(losses)
    room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    return _Scale(low - room, high + room, left)


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round values between `low` and `high`."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(step * count, digits) for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
