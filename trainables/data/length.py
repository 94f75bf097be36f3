"""How long a trial is, counted from its tokens as the trainer counts."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.config.fields import declared
from sweep.contract.length import Length

_KEY = b"lengths"  # our entry in the training table's metadata: the lengths before rows are truncated


def with_lengths(table: pa.Table, lengths: Any, limit: int | None) -> pa.Table:
    """Stores the rows' original lengths, a numpy array, in the metadata of the table of training tokens."""
    import numpy as np

    kept = {
        "rows": len(lengths),
        "median": round(float(np.median(lengths))),
        "p95": round(float(np.percentile(lengths, 95))),
        "longer": int((lengths > limit).sum()) if limit is not None else 0,
        "max_length": limit,
    }
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: json.dumps(kept).encode()})


def length_of(settings: Mapping[str, Any], train: pa.Table, held_out: int) -> Length:
    """A trial's length: `train` are its training tokens, as `with_lengths` left them; `held_out` counts rows."""
    sequences = train.num_rows
    an_epoch = _steps_of_an_epoch(settings, sequences)
    steps = _setting(settings, "max_steps")
    if steps <= 0:
        steps = math.ceil(_setting(settings, "num_train_epochs") * an_epoch)
    epochs = steps / an_epoch
    in_an_epoch = pc.sum(pc.list_value_length(train["input_ids"])).as_py()
    return Length(
        **json.loads(train.schema.metadata[_KEY]),
        held_out=held_out,
        sequences=sequences,
        steps=steps,
        epochs=epochs,
        tokens=round(in_an_epoch * epochs),
    )


def _steps_of_an_epoch(settings: Mapping[str, Any], sequences: int) -> int:
    """As in the trainer: a partial batch, and a partial group of accumulated batches, counts as one more."""
    batches = sequences / _setting(settings, "per_device_train_batch_size")
    whole = math.floor(batches) if _setting(settings, "dataloader_drop_last") else math.ceil(batches)
    steps: int = math.ceil(whole / _setting(settings, "gradient_accumulation_steps"))
    return max(steps, 1)


def _setting(settings: Mapping[str, Any], key: str) -> Any:
    return settings.get(key, declared(("trl:SFTConfig",))[key].default)
