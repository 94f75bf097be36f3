"""The comparison as headings and cells: one row per configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from sweep.answer.answer import Answer, Configuration, SetLosses, Value
from sweep.answer.groups import text_of
from sweep.common.column import Column, is_shown
from sweep.common.formatting import NOTHING, capitalized, percent
from sweep.show import cut
from sweep.store.columns import METRICS

_VERDICT_OF = {"seeds": "verdict", "examples": "verdict on these models", "none": "verdict as measured"}
VERDICTS = {"within": "within margin", "worse": "beyond margin", "undecided": "undecided"}


@dataclass(frozen=True)
class TableColumn:
    """A column of the table: its heading, and a configuration's cell."""

    heading: str
    cell: Callable[[Configuration], str]


def columns(answer: Answer) -> list[TableColumn]:
    """The compared loss, the distance from the best, and every metric of the table that was measured."""
    found = [
        TableColumn("configuration", lambda one: one.label),
        TableColumn("seeds", lambda one: str(len(one.trials))),
    ]
    if answer.metric and not is_shown(METRICS[answer.metric], "table"):
        compared = METRICS[answer.metric]
        found.append(TableColumn(compared.label, lambda one: compared.text(one.loss, one.loss_sd)))
    if name := cut.name_of(answer):
        found.append(TableColumn(name, lambda one: METRICS["eval_loss"].text(one.cut_loss)))
    if answer.picks and len(answer.compared) > 1:
        found += [
            TableColumn("vs lowest", above_lowest),
            TableColumn("above the best", above_best),
            TableColumn(_VERDICT_OF[answer.basis], verdict),
        ]
    return found + [_of_metric(column) for column in answer.metrics("table")] + [_of_set(one) for one in answer.sets]


def _of_metric(column: Column) -> TableColumn:
    return TableColumn(column.label, lambda one: one.text(column.name))


def _of_set(one: SetLosses) -> TableColumn:
    """A further held-out set: its loss before training and after it."""

    def cell(row: Configuration) -> str:
        values = (one.before.get(row.label), one.after.get(row.label))
        return " → ".join(METRICS["eval_loss"].text(value) for value in values)

    return TableColumn(f"loss on {PurePath(one.dataset).name}", cell)


def above_lowest(one: Configuration) -> str:
    if one.comparison is None:
        return NOTHING
    return percent(one.comparison.difference) if one.comparison.difference else "lowest"


def above_best(one: Configuration) -> str:
    """The bounds as text."""
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
    return [one.heading for one in found], [[one.cell(row) for one in found] for row in answer.compared]


# --- the losses from which each rank's value of a tuned setting was chosen -------------------------------------------


@dataclass(frozen=True)
class Values:
    """A table with a row for each rank and a column for each value."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def values(answer: Answer) -> Values | None:
    """The losses from which each rank's value was chosen; None if nothing was tuned."""
    if answer.tuned is None or answer.metric is None:
        return None
    key, label = answer.tuned.key, METRICS[answer.metric].label
    found = sorted({value for one in answer.configurations if (value := one.value(key)) is not None})
    by_rank: dict[str, dict[Value, str]] = {}
    for one in answer.configurations:
        by_rank.setdefault(rank_of(one, key), {})[one.value(key)] = _tried(answer, one)
    rows = [[name, *(own.get(value, NOTHING) for value in found)] for name, own in by_rank.items()]
    title = (
        f"{capitalized(label)} by {key}, over the seeds that all values of a rank share; * marks the one compared above"
    )
    return Values(title, [key, *map(text_of, found)], rows)


def rank_of(one: Configuration, key: str) -> str:
    """A configuration's label without its value of the setting."""
    return one.label.replace(f" {key}={text_of(one.value(key))}", "", 1)


def _tried(answer: Answer, one: Configuration) -> str:
    """A loss, or how the trial ended."""
    if one.tuning_loss is None:
        return next((lost.status for lost in answer.outcomes if lost.label == one.label), NOTHING)
    return f"{METRICS[answer.metric or 'eval_loss'].text(one.tuning_loss)}{' *' if one.tuned else ''}"
