"""What is measured, as data: which way is better, in which unit, and how a person reads it."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    """A column of the trials table, or bits_per_byte, which is derived from the evals table."""

    name: str
    label: str
    direction: Direction
    unit: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("eval_loss", "held-out loss", "min", "nats/token"),
        Metric("bits_per_byte", "held-out bits per byte", "min", "bits/byte"),
        Metric("train_loss", "training loss", "min", "nats/token"),
        Metric("train_runtime", "training time", "min", "s"),
        Metric("train_samples_per_second", "samples/s", "max", "1/s"),
        Metric("train_steps_per_second", "steps/s", "max", "1/s"),
        Metric("peak_memory_allocated_bytes", "peak GPU memory", "min", "bytes"),
        Metric("peak_memory_reserved_bytes", "peak GPU memory reserved", "min", "bytes"),
        Metric("peak_rss_bytes", "peak RSS (host)", "min", "bytes"),
        Metric("trainable_parameters", "trainable", "min", ""),
    )
}

# What --prefer names, and the order in which costs decide.
COSTS = {
    "memory": "peak_memory_allocated_bytes",
    "time": "train_runtime",
    "parameters": "trainable_parameters",
}


def number(name: str, value: float | None) -> str:
    """A metric's value as a person reads it; a dash where it was not measured."""
    if value is None:
        return "–"
    unit = METRICS[name].unit
    if unit == "bytes":
        return size(value)
    if unit == "s":
        return duration(value)
    if unit == "1/s":
        return f"{value:.3f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,.0f}" if name == "trainable_parameters" else f"{value:.4f}"


def size(count: float) -> str:
    """Bytes in powers of 1000, as in the report: 3.1 GB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.2f} {unit}" if unit == "GB" else f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Seconds, with minutes or hours where there are some."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h"


def percent(fraction: float) -> str:
    """A signed share, with as many digits as its size leaves useful: +0.015 %, −0.67 %, +34 %."""
    size = abs(fraction) * 100
    digits = 0 if size >= 10 else 1 if size >= 1 else 2 if size >= 0.1 or size == 0 else 3
    return f"{fraction * 100:+.{digits}f} %".replace("-", "−")
