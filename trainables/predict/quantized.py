"""Memory of 4- and 8-bit base weights by arithmetic: what bitsandbytes stores of a Linear's weight."""

from collections.abc import Mapping
from typing import Any

from sweep.contract.memory import Memory

# Bytes per weight. 4 bit: half a byte, and a scale for every 64 (a float32; nested, a byte, with a float32 for every 256 of them).
# 8 bit: a byte; its scales are one float32 per row.
FOUR, FOUR_NESTED, EIGHT = 0.5 + 4 / 64, 0.5 + 1 / 64 + 4 / (64 * 256), 1.0


def bits(settings: Mapping[str, Any]) -> int:
    """8, 4, or 0 for weights that are not quantized."""
    return 4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else 0


def shrunk(memory: Memory, made: Any, settings: Mapping[str, Any]) -> Memory:
    """The memory of a simulated step as if the frozen Linear layers were quantized; `made` is the network.

    Each product needs its weight in full for a moment, so the largest one is among the temporaries.
    """
    import torch

    size = EIGHT if bits(settings) == 8 else FOUR_NESTED if settings.get("use_bnb_nested_quant") else FOUR
    head = made.get_output_embeddings()
    weights = {
        id(module.weight): module.weight
        for module in made.modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not module.weight.requires_grad
    }
    full = sum(one.numel() * one.element_size() for one in weights.values())
    kept = round(sum(one.numel() for one in weights.values()) * size)
    largest = max((one.numel() * one.element_size() for one in weights.values()), default=0)
    return Memory(
        parameters=memory.parameters - full + kept,
        gradients=memory.gradients,
        optimizer_state=memory.optimizer_state,
        activations=memory.activations,
        temporaries=memory.temporaries + largest,
    )
