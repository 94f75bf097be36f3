"""How much a trial trains: steps, tokens, and how long its rows are."""

import math
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from sweep.contract.length import Extent
from trainables.data.tokens import Tokens
from trainables.predict.steps import arguments


def counted(settings: Mapping[str, Any], tokens: Tokens) -> Extent:
    """The extent for rows as they are trained on: truncated, or packed."""
    lengths = pc.list_value_length(tokens.train["input_ids"])
    steps, epochs = _steps(settings, tokens.train.num_rows)
    typical = round(pc.mean(lengths).as_py())
    return Extent(steps, round(pc.sum(lengths).as_py() * epochs), typical, pc.max(lengths).as_py())


def assumed(settings: Mapping[str, Any], rows: int, length: int) -> Extent:
    steps, epochs = _steps(settings, rows)
    return Extent(steps, round(rows * length * epochs), length, length)


def _steps(settings: Mapping[str, Any], rows: int) -> tuple[int, float]:
    """Optimizer steps and epochs, as in the trainer: a partial batch, and a partial group of accumulated ones, counts as one."""
    args = arguments(settings)
    batches = rows / args.per_device_train_batch_size
    whole = math.floor(batches) if args.dataloader_drop_last else math.ceil(batches)
    an_epoch = max(math.ceil(whole / args.gradient_accumulation_steps), 1)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * an_epoch)
    return steps, steps / an_epoch
