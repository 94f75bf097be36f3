"""Held-out loss after training, one number per example, so that trials can be compared pair by pair."""

from collections.abc import Callable
from typing import Any

from sweep.contract.outcomes import is_out_of_memory
from sweep.store.store import Row


def held_out(trainer: Any, table: Any, batch_size: int, left: Callable[[int], None] = lambda rows: None) -> list[Row]:
    """Rows of EVALS without `trial_id`, one per row of a held-out table of tokens.

    Loss is the sum over an example's labeled tokens, in nats, from the model as TRL's trainer runs it (its precision, its
    fused head). Long examples come first, so that running out of memory happens early and batches hold little padding.
    `left` is called before each batch with the number of remaining rows.
    """
    return as_many_as_fit(batch_size, lambda size: _held_out(trainer, table, size, left))


def as_many_as_fit(batch_size: int, run: Callable[[int], list[Row]]) -> list[Row]:
    """Runs with a batch size; if a batch does not fit, everything is retried with half of it, down to one example."""
    while True:
        try:
            return run(batch_size)
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
        batch_size //= 2  # outside the handler, the error and what its frames hold on the device are freed
        print(f"Out of memory in the evaluation: retrying with {batch_size} at a time.")


def _held_out(trainer: Any, table: Any, batch_size: int, left: Callable[[int], None]) -> list[Row]:
    import torch

    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    order = sorted(range(table.num_rows), key=lambda row: -len(columns["input_ids"][row]))
    rows: dict[int, Row] = {}
    trainer.model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            left(len(order) - start)
            batch = order[start : start + batch_size]
            sums, counts = _losses(trainer, [(columns["input_ids"][row], columns["labels"][row]) for row in batch])
            for row, loss, count in zip(batch, sums, counts, strict=True):
                rows[row] = {
                    "example_id": columns["example_id"][row],
                    "loss_sum": loss,
                    "tokens": count,
                    **{name: columns[name][row] for name in ("bytes", "group", "content_hash")},
                }
    return [rows[row] for row in range(table.num_rows)]


def mean_loss(rows: list[Row]) -> float | None:
    """Loss per token over all examples."""
    tokens = sum(row["tokens"] for row in rows)
    return sum(row["loss_sum"] for row in rows) / tokens if tokens else None


def _losses(trainer: Any, examples: list[tuple[list[int], list[int]]]) -> tuple[list[float], list[int]]:
    """Summed loss and number of labeled tokens of each example."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    pad = trainer.model.config.get_text_config().pad_token_id
    collate = DataCollatorForLanguageModeling(pad_token_id=pad)
    inputs = collate([{"input_ids": ids, "labels": labels} for ids, labels in examples])
    inputs = {name: tensor.to(trainer.args.device) for name, tensor in inputs.items()}
    with trainer.compute_loss_context_manager():
        outputs = trainer.model(**inputs, use_cache=False, fused_lm_head=True)
    losses = -outputs.log_probs.to(torch.float64).sum(dim=1)
    return losses.tolist(), outputs.label_mask.sum(dim=1).tolist()
