"""What a sweep is predicted to take: memory of every trial, steps, tokens, operations, hours and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep.contract.cards import Card, fits, overhead
from sweep.contract.length import Extent
from sweep.contract.memory import Device, Step
from sweep.space import Rank, Trial

UTILIZATION = 0.3  # share of a card's peak that training reaches: an assumption, see docs/estimate.md


@dataclass(frozen=True)
class Assumed:
    """Assumptions about a sweep beyond its configuration.

    Attributes:
        device: whose operations are simulated.
        gpu: the card's name in CARDS; gpu_memory_gb: its memory in 10⁹ bytes.
        utilization: share of the card's peak that training reaches.
        price_per_hour: of the card, in US dollars.
        rows, length: of the training data, instead of reading them.
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
        step: for the longest rows, which determine the peak.
        typical: for rows of typical length, which determine the time.
        trials: how many trials of the sweep have this configuration.
        largest: the largest batch sizes that fit the card, by length; empty if no card was named.
        notes: what is not simulated, or is arithmetic rather than simulation.
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
        return overhead(self.peak_bytes)

    def fits(self, card: Card) -> bool:
        return fits(self.peak_bytes, card.bytes)

    @property
    def flops(self) -> int | None:
        """Floating-point operations of all its trials."""
        return None if self.extent.steps is None else self.typical.flops * self.extent.steps * self.trials

    def hours(self, card: Card, utilization: float) -> float | None:
        """Hours for all its trials, one after the other on one card."""
        peak = card.tflops if self.half_precision else card.tflops_float32
        return self.flops / (peak * 1e12 * utilization) / 3600 if self.flops is not None and peak else None


@dataclass(frozen=True)
class Prediction:
    """What a sweep will take.

    Attributes:
        path: whose operations were simulated, "cuda" or "cpu".
        utilization: the assumed share of the card's peak.
        price_per_hour: US dollars for one card, or None.
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
        """Hours of one card for all trials."""
        if self.card is None:
            return None
        each = [one.hours(self.card, self.utilization) for one in self.configurations]
        return None if None in each else sum(one for one in each if one is not None)

    @property
    def dollars(self) -> float | None:
        return None if self.hours is None or self.price_per_hour is None else self.hours * self.price_per_hour


def alike(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Trials grouped by everything but their seed, which changes neither memory nor time."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(label(trial), []).append(trial)
    return found


def label(trial: Trial) -> str:
    axes = "".join(f", {key}={value}" for key, value in trial.axes.items())
    return f"{'full' if trial.lora_r is None else f'r={trial.lora_r}'}{axes}"


def columns(one: Predicted) -> dict[str, Any]:
    """The columns of a trial's row that come from its prediction."""
    return {"predicted_peak_memory_bytes": one.peak_bytes}
