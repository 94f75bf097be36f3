"""GPUs that a sweep may run on: their memory, their peak, and what an hour costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweep.errors import Complaint, ConfigError

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        bytes: what torch can have of it: `torch.cuda.get_device_properties(0).total_memory`, about.
        tflops: dense tensor-core peak in bfloat16 (float16 for the T4, which has no bfloat16), 10¹² operations a second.
        tflops_float32: peak in float32 outside of tensor cores: torch uses TF32 for matrix products only where it is told to.
        usd_per_hour: list price of one on demand at AWS, or null where AWS has none. Prices change; --price_per_hour sets one.
    """

    bytes: int
    tflops: float
    tflops_float32: float
    usd_per_hour: float | None


# Peaks from NVIDIA's data sheets, dense. Prices: g5, g6, g4dn, p4d, p4de, p5, p5en in us-east-1, a GPU's share of the machine.
CARDS: Mapping[str, Card] = {
    "a10g": Card(round(22.0 * GIB), 70, 31.5, 1.01),
    "l4": Card(round(22.0 * GIB), 121, 30.3, 0.80),
    "t4": Card(round(14.6 * GIB), 65, 8.1, 0.53),
    "a100-40": Card(round(39.4 * GIB), 312, 19.5, 2.74),
    "a100-80": Card(round(79.1 * GIB), 312, 19.5, 3.43),
    "h100": Card(round(79.1 * GIB), 989, 66.9, 6.88),
    "h200": Card(round(139.8 * GIB), 989, 66.9, 7.91),
    "rtx4090": Card(round(23.5 * GIB), 165, 82.6, None),
}
# What nvidia-smi shows in addition to allocated tensors: the CUDA context with its loaded kernels, and the unused parts of the
# allocator's segments. Neither is in max_memory_allocated; both have to fit. Assumed, not measured.
CONTEXT_BYTES = 500 * 2**20
FRAGMENTED = 0.05  # of the predicted peak


def overhead(peak_bytes: int) -> int:
    """Bytes of a card that a process takes in addition to its peak of `max_memory_allocated`."""
    return CONTEXT_BYTES + round(FRAGMENTED * peak_bytes)


def fits(peak_bytes: int, card_bytes: int) -> bool:
    """Whether a trial with this peak can be trained on a card of this size."""
    return peak_bytes + overhead(peak_bytes) <= card_bytes


def most_peak(card_bytes: int) -> int:
    """The largest peak that fits a card of this size."""
    return int((card_bytes - CONTEXT_BYTES) / (1 + FRAGMENTED))


def card(name: str | None, memory_gb: float | None) -> Card | None:
    """The card that --gpu and --gpu_memory_gb describe; None if neither was given.

    Raises:
        ConfigError: there is no such card, or its memory is no size.
    """
    if memory_gb is not None and not 0 < memory_gb < 1e4:
        raise ConfigError([Complaint("gpu_memory_gb", f": must be above 0, in GB of 10⁹ bytes, got {memory_gb:g}.")])
    if name is None:
        return None if memory_gb is None else Card(round(memory_gb * 1e9), 0, 0, None)
    if name not in CARDS:
        raise ConfigError(
            [
                Complaint(
                    "gpu",
                    f": expected one of {', '.join(CARDS)}, got {name!r}. For another one give its memory: --gpu_memory_gb 24.",
                )
            ]
        )
    known = CARDS[name]
    if memory_gb is None:
        return known
    return Card(round(memory_gb * 1e9), known.tflops, known.tflops_float32, known.usd_per_hour)


def name_of_device(device_name: str) -> str | None:
    """The card with this driver name ("NVIDIA A10G") or Ray accelerator type ("A10G"); None if unknown."""
    words = device_name.casefold().replace("-", " ").replace("_", " ").replace("rtx 4090", "rtx4090").split()
    if "a100" in words:
        return "a100-80" if any(word.startswith("80g") for word in words) else "a100-40"
    return next((name for name in CARDS if name in words), None)


def of_device(device_name: str) -> Card | None:
    name = name_of_device(device_name)
    return CARDS[name] if name else None
