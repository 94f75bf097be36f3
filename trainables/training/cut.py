"""Truncates the largest rank's adapter to smaller ranks: what those could represent, without training them.

The best approximation of a layer's B·A by a smaller rank is its truncated SVD (Eckart and Young). PEFT's `convert_to_lora`
gives the same (a test compares them), but decomposes each layer's whole matrix, once per rank: 12 s for 2048 ×
2048 on a core, where the factors of a layer of 4096 take half a second at rank 256, once for all ranks. It also drops
DoRA's magnitudes, which are kept here as trained.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sweep.contract.trainable import Context
from sweep.store.store import Row
from trainables.data.tokens import Tokens
from trainables.training import evaluate

PHASE = "evaluating cut adapters"
MOST = 0.1  # of what training takes, of a trial of each of these ranks: the demo's two smaller ones would take 0.09
_PASSES = 3  # a training step takes about as long as three forward passes: the backward one counts twice


def columns(context: Context, trainer: Any, held_out: Tokens, outcome: Row) -> Row:
    """The column `cut_losses` of a trained and evaluated trial, or none. Overwrites the adapter.

    Errors only go to the trial's log: the trial has completed already.
    """
    ranks, evaluated = context.smaller_ranks, outcome.get("eval_loss") is not None
    if not ranks or not evaluated:
        return {}
    table = held_out.held_out
    if not is_cheap(len(ranks), _positions(table), outcome["tokens"]):
        print(f"The adapter is not cut to smaller ranks: evaluating it would take over {MOST:.0%} of the training.")
        return {}
    batch_size = trainer.args.per_device_eval_batch_size
    try:
        found = losses(trainer, table, batch_size, ranks, lambda rows: context.phase(PHASE, rows))
        return {"cut_losses": json.dumps({str(rank): found[rank] for rank in sorted(found)}, allow_nan=False)}
    except Exception as error:
        print(f"The adapter could not be cut to smaller ranks: {type(error).__name__}: {error}")
        return {}


def is_cheap(ranks: int, held_out_tokens: int, trained_tokens: int) -> bool:
    """Whether evaluating the truncated adapters costs little compared with training all ranks.

    Counted in tokens, not in seconds: whether a trial has the column must not depend on how busy a machine is.
    """
    return ranks * held_out_tokens <= MOST * _PASSES * trained_tokens * (ranks + 1)


def _positions(table: Any) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.list_value_length(table.column("input_ids"))).as_py() or 0


def losses(
    trainer: Any, table: Any, batch_size: int, ranks: Sequence[int], left: Callable[[int], None] = lambda rows: None
) -> dict[int, float | None]:
    """Held-out loss of the trainer's adapter truncated to each rank, by rank. The adapter keeps the smallest rank afterwards.

    Raises:
        ValueError: a layer's adapter is not a product of two matrices.
    """
    import torch

    found = {}
    with torch.no_grad():
        factors = list(_factors(trainer.model))
        for down, up in factors:
            _decompose(down, up)
        for rank in sorted(ranks, reverse=True):  # downward: each cut leaves what the next one needs
            for down, up in factors:
                down[rank:] = 0
                up[:, rank:] = 0
            found[rank] = evaluate.mean_loss(evaluate.held_out(trainer, table, batch_size, left))
    return found


def _factors(model: Any) -> Iterator[tuple[Any, Any]]:
    """Each layer's A (r × inputs) and B (outputs × r)."""
    from peft.tuners.lora import LoraLayer

    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        for adapter in layer.active_adapters:
            if adapter not in layer.lora_A or layer.lora_A[adapter].weight.shape[0] != layer.r[adapter]:
                raise ValueError(f"the adapter of {name} ({type(layer).__name__}) is not a product of two matrices")
            yield layer.lora_A[adapter].weight, layer.lora_B[adapter].weight


def _decompose(down: Any, up: Any) -> None:
    """Rewrites A and B, with the same product, so that the first k components are its best approximation of rank k.

    Runs on the host: what a decomposition leaves on a device would count toward the next trial.
    """
    import torch

    left, upper = torch.linalg.qr(up.float().cpu())
    right, lower = torch.linalg.qr(down.float().cpu().T)
    first, values, last = torch.linalg.svd(upper @ lower.T)
    count, root = len(values), values.sqrt()
    down.zero_()
    up.zero_()
    down[:count] = (root[:, None] * last[:count] @ right.T).to(down)
    up[:, :count] = (left @ first[:, :count] * root).to(up)
