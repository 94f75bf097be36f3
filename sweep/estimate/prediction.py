"""What a sweep will take before it runs: memory of every trial, steps, tokens, operations, hours and money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep.contract.cards import Card, beside, fits
from sweep.contract.length import Extent
from sweep.contract.memory import Device, Step
from sweep.space import Rank, Trial

UTILIZATION = 0.3  # share of a card's peak that training reaches: an assumption, see docs/estimate.md


@dataclass(frozen=True)
class Assumed:
    """What is said of a sweep beyond its configuration.

    Attributes:
        device: whose operations are followed.
        gpu: the card's name in CARDS; gpu_memory_gb: its memory in 10⁹ bytes.
        utilization: share of the card's peak that training reaches.
        price_per_hour: of the card, in US dollars.
        rows, length: of the training data, in place of looking at them.
    """

    device: Device = "cuda"
    gpu: str | None = None
    gpu_memory_gb: float | None = None
    utilization: float = UTILIZATION
    price_per_hour: float | None = None
    rows: int | None = None
    length: int | None = None


@dataclass(frozen=True)
class Predicted:
    """One configuration of a sweep: what one of its trials takes.

    Attributes:
        step: at the longest rows, which make the peak.
        typical: at rows of typical length, which make the time.
        trials: how many trials of the sweep are like it.
        largest: batch sizes that fit the card, by length; empty where no card was named.
        notes: what is not followed, or is arithmetic rather than simulation.
    """

    label: str
    lora_r: Rank
    step: Step
    typical: Step
    extent: Extent
    trials: int
    half_precision: bool
    largest: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def peak_bytes(self) -> int:
        return self.step.memory.total

    @property
    def beside_bytes(self) -> int:
        return beside(self.peak_bytes)

    def fits(self, card: Card) -> bool:
        return fits(self.peak_bytes, card.bytes)

    @property
    def flops(self) -> int | None:
        """Of all its trials."""
        return None if self.extent.steps is None else self.typical.flops * self.extent.steps * self.trials

    def hours(self, card: Card, utilization: float) -> float | None:
        """Of all its trials, one after the other on one card."""
        peak = card.tflops if self.half_precision else card.tflops_float32
        return self.flops / (peak * 1e12 * utilization) / 3600 if self.flops is not None and peak else None


@dataclass(frozen=True)
class Prediction:
    """What a sweep will take.

    Attributes:
        path: whose operations were followed, "cuda" or "cpu".
        utilization: the assumed share of the card's peak.
        price_per_hour: US dollars for one card, or null.
    """

    configurations: tuple[Predicted, ...]
    path: str
    card: Card | None
    card_name: str | None
    utilization: float
    price_per_hour: float | None
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float | None:
        """Of one card for all trials."""
        if self.card is None:
            return None
        each = [one.hours(self.card, self.utilization) for one in self.configurations]
        return None if None in each else sum(one for one in each if one is not None)

    @property
    def dollars(self) -> float | None:
        return None if self.hours is None or self.price_per_hour is None else self.hours * self.price_per_hour


def alike(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Trials by what they are besides their seed: a seed changes neither memory nor time."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(label(trial), []).append(trial)
    return found


def label(trial: Trial) -> str:
    axes = "".join(f", {key}={value}" for key, value in trial.axes.items())
    return f"{'full' if trial.lora_r is None else f'r={trial.lora_r}'}{axes}"


def columns(one: Predicted) -> dict[str, Any]:
    """What a trial's row knows of its prediction."""
    return {"predicted_peak_memory_bytes": one.peak_bytes}
