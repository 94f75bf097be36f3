"""Floating-point operations of matrix products, convolutions and attention, by torch's own formulas.

`FlopCounterMode` itself would change the measured memory: it decomposes composite operations, and its module hooks keep
activations alive (with activation checkpointing the peak grew by half).
"""

from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


# torch has formulas for accelerators' attention kernels only.
FORMULAS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Flops:
    """Counts the operations it is called with. A multiplication and an addition are two."""

    total = 0

    def count(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=result)
