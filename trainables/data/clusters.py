"""Clusters of rows that belong together, named by the column of --dataset_group: same source, same problem, same author.

Held-out rows of one cluster are not independent examples, and a row whose siblings were trained on is not held out at all.
"""

import random
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from sweep.common.formatting import first_few
from sweep.errors import Complaint
from trainables.data.files import Part
from trainables.data.sources import Settings

COLUMN = "group of the row"  # in our tables, where no column of a form has this name


def complaints(part: Part, settings: Settings) -> list[Complaint]:
    """What is wrong with the cluster column of a table, if one is named."""
    name = settings.get("dataset_group")
    if not name:
        return []
    if name not in part.columns:
        have = first_few([repr(column) for column in part.columns])
        return [
            Complaint("dataset_group", f" {name!r}: {part.name} has no such column, it has {have}. Name one of these.")
        ]
    kind = part.table[name].type
    if any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    ):
        return []
    return [Complaint("dataset_group", f" {name!r}: {part.name} has {kind} there. Use strings or whole numbers.")]


def with_clusters(converted: pa.Table, rows: pa.Table, settings: Settings) -> pa.Table:
    """The converted rows with their clusters, as strings."""
    name = settings.get("dataset_group")
    return converted.append_column(COLUMN, pc.cast(rows[name], pa.large_string())) if name else converted


def split_off(table: pa.Table) -> tuple[pa.Table, pa.Array]:
    """The rows without the cluster column, and that column; nulls if none is named."""
    if COLUMN not in table.column_names:
        return table, pa.nulls(table.num_rows, pa.large_string())
    return table.drop_columns([COLUMN]), table[COLUMN].combine_chunks()


def sample(table: pa.Table, count: int, seed: int) -> set[int]:
    """The indices of `count` random rows, or of the rows of random whole clusters, drawn until there are that many."""
    draw = random.Random(seed)
    if COLUMN not in table.column_names:
        return set(draw.sample(range(table.num_rows), count))
    members: dict[str | int, list[int]] = {}
    for row, name in enumerate(table[COLUMN].to_pylist()):
        members.setdefault(row if name is None else name, []).append(row)  # a row without a cluster is its own
    chosen: set[int] = set()
    for rows in _shuffled(list(members.values()), draw):
        if len(chosen) >= count:
            break
        chosen.update(rows)
    return chosen


def _shuffled(clusters: Sequence[list[int]], draw: random.Random) -> list[list[int]]:
    return draw.sample(clusters, len(clusters))
