"""Columns of messages, tools and other objects, kept exactly as they were written.

Arrow gives every object of a column the same keys: a tool's argument that one row lacks would be null there, and a chat
template would print it. `datasets` keeps such objects as JSON texts (its feature `Json`), and so do we: TRL sees the objects
themselves, as after `load_dataset`.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def array(values: Sequence[Any]) -> pa.Array:
    """The values as an Arrow array that gives them back, with JSON texts where no other type does.

    Raises:
        UnicodeEncodeError, OverflowError, pyarrow.ArrowException: they are of different types, or cannot be stored.
    """
    try:
        made = pa.array(values)
    except pa.ArrowException:
        if not all(value is None or isinstance(value, list | dict) for value in values):
            raise
        return _with_json_texts(values)
    return _with_json_texts(values) if _has_objects(made.type) and made.to_pylist() != values else made


def _with_json_texts(values: Sequence[Any]) -> pa.Array:
    from datasets import Dataset

    made = Dataset.from_dict({"values": list(values)}, on_mixed_types="use_json")
    return made.with_format("arrow")[:]["values"].combine_chunks()


def pylist(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """A column's values as Python objects, JSON texts parsed."""
    values: list[Any] = column.to_pylist()
    return [_parsed(value, column.type) for value in values] if holds_json(column.type) else values


def rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """A batch's rows as Python objects, JSON texts parsed."""
    columns = [pylist(batch[name]) for name in batch.schema.names]
    return [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def first(column: pa.ChunkedArray) -> Any:
    """The first value that is neither null nor empty, as `pylist` gives it; None if there is none."""
    values = (_parsed(one.as_py(), column.type) for one in column)
    return next((value for value in values if value), None)


def holds_json(kind: pa.DataType) -> bool:
    """Whether values of the type are JSON texts, or contain some."""
    return isinstance(kind, pa.JsonType) or any(map(holds_json, _parts(kind)))


def alike(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables, to be concatenated: where one column has objects of several types, as JSON texts throughout."""
    found = {
        name: [table.schema.field(name).type for table in tables if name in table.column_names]
        for name in _names(tables)
    }
    texts = {name for name, kinds in found.items() if len(set(kinds)) > 1 and any(map(_has_objects, kinds))}
    return [_with_texts(table, texts) for table in tables]


def _names(tables: Sequence[pa.Table]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table.column_names))


def _with_texts(table: pa.Table, names: set[str]) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name in names:
            texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in pylist(table[name])]
            column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))
            table = table.set_column(index, name, column)
    return table


def _has_objects(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) or isinstance(kind, pa.JsonType) or any(map(_has_objects, _parts(kind)))


def _parts(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_struct(kind):
        return [kind.field(index).type for index in range(kind.num_fields)]
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return [kind.value_type] if listed else []


def _parsed(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, pa.JsonType):
        return json.loads(value)
    if pa.types.is_struct(kind):
        return {one.name: _parsed(value[one.name], one.type) for one in map(kind.field, range(kind.num_fields))}
    inner = _parts(kind)
    return [_parsed(one, inner[0]) for one in value] if inner else value
