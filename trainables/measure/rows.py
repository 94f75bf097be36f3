"""The rows that a measurement trains on: the longest first, then rows in random order."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, list[int]]
MAX_LENGTH = 1024  # TRL's default


def of_data(table: Any, longest: int, others: int, settings: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """The `longest` longest rows of a table of tokens, and `others` in random order; repeated if there are too few."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.list_value_length(table["input_ids"]).to_pylist()
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    shuffled = random.Random(0).sample(range(len(lengths)), len(lengths))
    first, rest = (
        list(itertools.islice(itertools.cycle(order), count))
        for order, count in ((by_length, longest), (shuffled, others))
    )
    if settings.get("train_sampling_strategy") == "group_by_length":
        rest.sort(key=lengths.__getitem__)
    wanted = table.select([name for name in ("input_ids", "labels", "seq_lengths") if name in table.column_names])
    return wanted.take(pa.array(first, pa.int64())).to_pylist(), wanted.take(pa.array(rest, pa.int64())).to_pylist()


def of_chance(count: int, batch: int, length: int, vocabulary: int, settings: Mapping[str, Any]) -> list[Row]:
    """Random tokens. The last row of a batch is a token shorter: without padding, the attention mask would be omitted."""
    draw = random.Random(0)
    apart = bool(settings.get("packing"))
    packs = max(int(settings.get("max_length") or MAX_LENGTH) // length, 1) if apart else 1

    def row(place: int) -> Row:
        short = batch > 1 and place % batch == batch - 1 and length > 2 and not apart
        ids = draw.choices(range(vocabulary), k=packs * length - short)
        return {"input_ids": ids, "labels": ids, **({"seq_lengths": [length] * packs} if apart else {})}

    return [row(place) for place in range(count)]


def counted(rows: Sequence[Row]) -> tuple[int, int]:
    """The number of examples, of which a pack holds several, and of tokens."""
    return sum(len(row.get("seq_lengths", [0])) for row in rows), sum(len(row["input_ids"]) for row in rows)
