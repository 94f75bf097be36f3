"""What a prediction of memory does not follow, in words for people."""

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
            f"{attention} is not followed: what SDPA's own kernel keeps for the backward pass stands in its place."
        )
    if bits(settings):
        found.append(f"{bits(settings)}-bit base weights are arithmetic, not simulation: bitsandbytes was not run.")
    if str(settings.get("optim") or "").endswith("bit") or "bnb" in str(settings.get("optim")):
        found.append(f"{settings['optim']} is taken as AdamW where bitsandbytes is not installed: more than it needs.")
    if device == "cuda":
        found.append("CUDA's path has not been validated on a card yet.")
        if settings.get("bf16") or settings.get("fp16"):
            found.append("Which operations autocast runs in float32 is taken from its rules for CPUs.")
    if settings.get("packing") or settings.get("padding_free"):
        found.append("Rows without padding are taken as a batch of full rows.")
    return found
