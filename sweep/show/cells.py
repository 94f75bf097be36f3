"""The comparison as headings and texts: one row per configuration."""

from collections.abc import Callable
from dataclasses import dataclass

from sweep.answer.answer import Answer, Configuration
from sweep.common.formatting import NOTHING, percent
from sweep.store.columns import METRICS, Column, is_shown

_VERDICT_OF = {"seeds": "verdict", "examples": "verdict on these models", "none": "verdict as measured"}
VERDICTS = {"within": "within margin", "worse": "beyond margin", "undecided": "undecided"}


@dataclass(frozen=True)
class TableColumn:
    """A column of the table: its heading, and a configuration's cell."""

    heading: str
    cell: Callable[[Configuration], str]


def columns(answer: Answer) -> list[TableColumn]:
    """The compared loss, how each is against the best, and every metric of the table that somebody measured."""
    found = [
        TableColumn("configuration", lambda one: one.label),
        TableColumn("seeds", lambda one: str(len(one.trials))),
    ]
    if answer.metric and not is_shown(METRICS[answer.metric], "table"):
        compared = METRICS[answer.metric]
        found.append(TableColumn(compared.label, lambda one: compared.text(one.loss, one.loss_sd)))
    if answer.recommendation and len(answer.configurations) > 1:
        found += [
            TableColumn("vs lowest", above_lowest),
            TableColumn("above the best", above_best),
            TableColumn(_VERDICT_OF[answer.basis], verdict),
        ]
    return found + [_of_metric(column) for column in answer.metrics("table")]


def _of_metric(column: Column) -> TableColumn:
    return TableColumn(column.label, lambda one: one.text(column.name))


def above_lowest(one: Configuration) -> str:
    if one.comparison is None:
        return NOTHING
    return percent(one.comparison.difference) if one.comparison.difference else "lowest"


def above_best(one: Configuration) -> str:
    """The bounds as a person reads them."""
    if one.comparison is None or one.comparison.upper is None:
        return NOTHING
    if one.comparison.upper == 0:
        return "0 %"
    low = percent(one.comparison.lower or 0.0).lstrip("+") if one.comparison.lower else "0"
    return f"{low} to {percent(one.comparison.upper)}"


def verdict(one: Configuration) -> str:
    return VERDICTS[one.comparison.verdict] if one.comparison else NOTHING


def cells(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row per configuration."""
    found = columns(answer)
    return [one.heading for one in found], [[one.cell(row) for one in found] for row in answer.configurations]
