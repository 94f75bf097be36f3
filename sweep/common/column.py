"""What a column of a sweep's files is, and how its values are shown. Which there are: sweep.store.columns."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from sweep.common.formatting import with_spread

Direction = Literal["min", "max"]
# In the comparison's table; as the loss against it, with the Pareto front; as a bar for each configuration; by optimizer step.
Place = Literal["table", "front", "bars", "curves"]


@dataclass(frozen=True)
class Metric:
    """How a column's values are compared and shown, everywhere the same.

    Attributes:
        label: heading in tables, name on axes.
        better: which way is better; None where neither is.
        shown: where, besides the JSON and the CSV, which have every metric of a trial.
        over_seeds: what a configuration has of its trials' values.
        spread: their standard deviation is given too: as NAME_sd, and after the mean in tables.
        foreseen: it is known before a trial runs, so a configuration has it of all its trials, not of the completed ones.
        instead_of: a metric that it stands in for where nobody measured that one.
    """

    label: str
    better: Direction | None = "min"
    shown: tuple[Place, ...] = ()
    over_seeds: Literal["mean", "largest"] = "mean"
    spread: bool = False
    foreseen: bool = False
    instead_of: str = ""


@dataclass(frozen=True)
class Column:
    """A column's name, Arrow type and meaning.

    Attributes:
        unit: of its values; of the losses that which TRL's trainer has, unless the trainable's LOSS_UNIT says another.
        null: when it is null, beyond "not measured".
        metric: set where the answer gives the column.
        derived: by the reader, of each trial; in no file.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    null: str = ""
    metric: Metric | None = None
    derived: bool = False

    @property
    def shown_as(self) -> Metric:
        """How it is shown; for a column that is a metric."""
        assert self.metric, self.name
        return self.metric

    @property
    def label(self) -> str:
        return self.shown_as.label

    def text(self, value: float | None, deviation: float | None = None) -> str:
        """A value as a person reads it, with its unit where that is not in the label; a dash where it was not measured."""
        return with_spread(value, deviation, self.unit, whole=pa.types.is_integer(self.type))


def is_shown(column: Column, place: Place, measured: Collection[str] = ()) -> bool:
    """Whether a place shows a column: no stand-in where what it stands in for was measured."""
    metric = column.metric
    return metric is not None and place in metric.shown and metric.instead_of not in measured


def schema(columns: tuple[Column, ...], extra: dict[str, Any] | None = None) -> pa.Schema:
    """Arrow schema of the columns, followed by a field for each extra value (a grid's axes) in the value's own type."""
    fields = [pa.field(column.name, column.type) for column in columns]
    known = {column.name for column in columns}
    fields += [pa.field(name, _type_of(value)) for name, value in (extra or {}).items() if name not in known]
    return pa.schema(fields)


def _type_of(value: Any) -> pa.DataType:
    if value is None:
        return pa.null()  # whatever the other trials' values are
    for kind, arrow in ((bool, pa.bool_()), (int, pa.int64()), (float, pa.float64())):
        if isinstance(value, kind):
            return arrow
    return pa.string()
