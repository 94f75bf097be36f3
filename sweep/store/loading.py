"""A sweep's files as pandas data frames, each read on first access."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.common.column import schema
from sweep.errors import StoreError
from sweep.store.columns import EVALS, LOSSES, SCORES, STEPS, TRIALS
from sweep.store.store import Row, Store, unreadable

if TYPE_CHECKING:
    import pandas as pd
    from ray.tune import ResultGrid

_OWN = frozenset(column.name for column in TRIALS)
_TRIES = 5


@dataclass(frozen=True)
class Sweep:
    """A sweep, as its files were when each frame was first read.

    Attributes:
        location: the folder or URI, or the file that the rows came from.
        store: where the rows are; None for rows from a single file.
        rows: the trial rows from a single file.
        notes: what a reader should know about how the rows were interpreted.
    """

    location: str
    store: Store | None = None
    rows: pa.Table | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of sweep.json; empty for rows from a single file."""
        return self.store.read_sweep() if self.store else {}

    def config_of(self, row: Row) -> Mapping[str, Any]:
        """The content of the sweep.json that a row's trial is of."""
        return self.config

    @property
    def name(self) -> str:
        return self.location.rstrip("/").rsplit("/", 1)[-1]

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The grid's further axes: columns of the trial table that are not in TRIALS and that the grid varies."""
        further = [name for name in self._trial_table.column_names if name not in _OWN]
        declared = self.config.get("axes")
        return tuple(name for name in further if not isinstance(declared, Mapping) or name in declared)

    @property
    def varied(self) -> tuple[str, ...]:
        """Everything that the grid varies besides rank and seed."""
        declared = self.config.get("axes")
        named = declared if isinstance(declared, Mapping) else {}
        return tuple(dict.fromkeys([*self.axes, *(name for name in named if name not in {"lora_r", "seed"})]))

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """A row per trial that has ended or is running. A trial with steps but no row is "running"."""
        return _frame(self._trial_table)

    def records(self) -> list[Row]:
        """The rows that an answer is made of, as dictionaries with None where a value is null.

        Where a sweep chose its trials, those that it wanted: of what else it began, to keep slots busy, an answer would
        depend on how many slots there were.
        """
        rows: list[Row] = self._trial_table.to_pylist()
        if not (self.config.get("tune") or self.config.get("race")):
            return rows
        wanted = {entry["trial_id"] for entry in self.config.get("trials") or ()}
        return [row for row in rows if row["trial_id"] in wanted]

    @cached_property
    def steps(self) -> "pd.DataFrame":
        """A row per optimizer step of every trial."""
        return _frame(self._read(Store.steps) if self.store else schema(STEPS).empty_table())

    @cached_property
    def evals(self) -> "pd.DataFrame":
        """A row per held-out example of every trial."""
        return _frame(self._read(Store.evals) if self.store else schema(EVALS).empty_table())

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """A row per example of what was scored beside the held-out loss."""
        return _frame(self._read(Store.scores) if self.store else schema(SCORES).empty_table())

    def result_grid(self) -> "ResultGrid":
        """Ray Tune's own view: a `ray.tune.Result` per trial that has started, from all runs. Unpickles nothing.

        Raises:
            StoreError: no trial has started, or the rows came from a single file.
        """
        from sweep.store.result_grid import result_grid

        if self.store is None:
            raise StoreError(f"{self.location!r} is a table of rows: only a sweep's folder holds results of Ray Tune.")
        return result_grid(self.store)

    @cached_property
    def not_started(self) -> tuple[Row, ...]:
        """The planned trials that have not started yet."""
        return tuple(row for row in self._rowless if not self._begun(row["trial_id"]))

    @cached_property
    def _ended(self) -> pa.Table:
        if self.store is None:
            return self.rows if self.rows is not None else schema(TRIALS).empty_table()
        return self._read(Store.trials)

    def _read(self, table: Callable[[Store], pa.Table]) -> pa.Table:
        """A table of the store. A running sweep merges its step files, so one that vanished since the listing is read again.

        Raises:
            StoreError: a file cannot be read.
        """
        assert self.store
        for attempt in range(_TRIES):
            try:
                return table(self.store)
            except FileNotFoundError as error:
                if attempt == _TRIES - 1:
                    raise self._unreadable(error) from error
            except (OSError, pa.ArrowException) as error:
                raise self._unreadable(error) from error
        raise AssertionError("unreachable")

    def _unreadable(self, error: Exception) -> StoreError:
        return unreadable(self.location, error)

    @cached_property
    def _rowless(self) -> tuple[Row, ...]:
        done = set(self._ended.column("trial_id").to_pylist())
        planned = [_flat(entry) for entry in self.config.get("trials") or ()]
        return tuple(row for row in planned if row["trial_id"] not in done)

    def _begun(self, trial_id: str) -> bool:
        return self.store is not None and self.store.attempts(trial_id) > 0

    @cached_property
    def _trial_table(self) -> pa.Table:
        running = [{**row, "status": "running"} for row in self._rowless if self._begun(row["trial_id"])]
        table = with_diverged(self._ended)
        if not running:
            return table
        extra = {key: value for row in running for key, value in row.items() if key not in _OWN and value is not None}
        known = _OWN | extra.keys()
        kept = [{key: value for key, value in row.items() if key in known} for row in running]
        return pa.concat_tables(
            [table, pa.Table.from_pylist(kept, schema=schema(TRIALS, extra))], promote_options="permissive"
        )


def load(path: str) -> Sweep:
    """The sweep at a path or URI. Reads sweep.json; the frames are read when they are first used.

    Raises:
        NotASweep, NewerSchema: there is none, or a later version wrote it.
    """
    sweep = Sweep(path, Store(path))
    _ = sweep.config
    return sweep


def with_diverged(table: pa.Table) -> pa.Table:
    """The trial table, with status "diverged" where a loss is NaN or infinite. A null loss only means "not measured"."""
    broken = pa.array([False] * table.num_rows, pa.bool_())
    for name in LOSSES:
        broken = pc.or_(broken, pc.fill_null(pc.invert(pc.is_finite(table.column(name))), False))
    trained = pc.is_in(table.column("status"), pa.array(["completed", "pruned"]))
    status = pc.if_else(pc.and_(broken, trained), "diverged", table.column("status"))
    return table.set_column(table.column_names.index("status"), "status", status)


def _flat(entry: Mapping[str, Any]) -> Row:
    """A planned trial of sweep.json as a row: axes may be next to the other values or under "axes"."""
    further = entry.get("axes")
    inner: Sequence[tuple[str, Any]] = list(further.items()) if isinstance(further, Mapping) else []
    return {**{key: value for key, value in entry.items() if key != "axes"}, **dict(inner)}


def _frame(table: pa.Table) -> "pd.DataFrame":
    """A data frame whose integer and boolean columns keep their types if some values are null."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame
