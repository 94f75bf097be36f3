"""The comparison as headings and texts: one row per configuration."""

from collections.abc import Callable
from dataclasses import dataclass

from sweep.answer.metrics import METRICS, number, percent
from sweep.answer.parts import Answer, Configuration

_VERDICT_OF = {"seeds": "verdict", "examples": "verdict on these models", "none": "verdict as measured"}
VERDICTS = {"within": "within margin", "worse": "beyond margin", "undecided": "undecided"}


@dataclass(frozen=True)
class TableColumn:
    """A column of the table: its heading, and a configuration's cell."""

    heading: str
    cell: Callable[[Configuration], str]


def columns(answer: Answer) -> list[TableColumn]:
    """The report's table, with held-out loss and its spread; a column that nobody measured is left out."""
    found = [
        TableColumn("configuration", lambda one: one.label),
        TableColumn("seeds", lambda one: str(len(one.trials))),
    ]
    if answer.metric and answer.metric != "train_loss":
        found.append(TableColumn(METRICS[answer.metric].label, lambda one: with_spread(one.loss, one.loss_sd)))
    if answer.recommendation and len(answer.configurations) > 1:
        found += [
            TableColumn("vs lowest", above_lowest),
            TableColumn("above the best", above_best),
            TableColumn(_VERDICT_OF[answer.basis], verdict),
        ]
    found.append(TableColumn("train loss", lambda one: with_spread(one.train_loss, one.train_loss_sd)))
    names = ["train_runtime", "train_samples_per_second", "train_steps_per_second", *_memory(answer)]
    return found + [_measured(name) for name in (*names, "trainable_parameters") if _has(answer, name)]


def _memory(answer: Answer) -> list[str]:
    """GPU memory where it was measured; else the process's, under its own name."""
    gpu = "peak_memory_allocated_bytes"
    return [gpu] if _has(answer, gpu) else ["peak_rss_bytes"]


def _has(answer: Answer, name: str) -> bool:
    return any(getattr(one, name) is not None for one in answer.configurations)


def _measured(name: str) -> TableColumn:
    return TableColumn(METRICS[name].label, lambda one: number(name, getattr(one, name)))


def with_spread(value: float | None, deviation: float | None) -> str:
    """A mean, with its standard deviation over seeds where there are several."""
    if value is None:
        return "–"
    return f"{value:.4f}" if deviation is None else f"{value:.4f} ± {deviation:.4f}"


def above_lowest(one: Configuration) -> str:
    if one.comparison is None:
        return "–"
    return percent(one.comparison.difference) if one.comparison.difference else "lowest"


def above_best(one: Configuration) -> str:
    """The bounds as a person reads them."""
    if one.comparison is None or one.comparison.upper is None:
        return "–"
    if one.comparison.upper == 0:
        return "0 %"
    low = percent(one.comparison.lower or 0.0).lstrip("+") if one.comparison.lower else "0"
    return f"{low} to {percent(one.comparison.upper)}"


def verdict(one: Configuration) -> str:
    return VERDICTS[one.comparison.verdict] if one.comparison else "–"


def cells(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row per configuration."""
    found = columns(answer)
    return [one.heading for one in found], [[one.cell(row) for one in found] for row in answer.configurations]
