"""Notes for users on what a memory prediction does not simulate."""

from collections.abc import Mapping
from typing import Any

from sweep.contract.memory import Device
from trainables.predict.network import KERNELS
from trainables.predict.quantized import bits


def notes(settings: Mapping[str, Any], device: Device) -> list[str]:
    found = []
    attention = str(settings.get("attn_implementation") or "")
    if attention.startswith(KERNELS):
        found.append(
            f"{attention} is not simulated: what SDPA's own kernel keeps for the backward pass is counted instead."
        )
    if bits(settings):
        found.append(f"{bits(settings)}-bit base weights are arithmetic, not simulation: bitsandbytes was not run.")
    if str(settings.get("optim") or "").endswith("bit") or "bnb" in str(settings.get("optim")):
        found.append(f"{settings['optim']} is counted as AdamW if bitsandbytes is not installed: more than it needs.")
    if device == "cuda":
        found.append("CUDA's path has not been validated on a GPU yet.")
        if settings.get("bf16") or settings.get("fp16"):
            found.append("The operations that autocast runs in float32 follow its rules for CPUs.")
    if settings.get("packing") or settings.get("padding_free"):
        found.append("Padding-free rows are counted as a batch of full rows.")
    return found
