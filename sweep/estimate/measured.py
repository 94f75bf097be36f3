"""What a few real steps show about a sweep: rates, prediction errors, hours and cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweep.contract.cards import Card
from sweep.contract.measurer import Ran, Timed
from sweep.contract.memory import Device
from sweep.estimate.prediction import Predicted


@dataclass(frozen=True)
class Rates:
    """Rates of training alone, per second."""

    steps_per_second: float
    samples_per_second: float
    tokens_per_second: float

    @classmethod
    def of(cls, *phases: Timed) -> "Rates":
        seconds = sum(one.seconds for one in phases)
        counts = (sum(getattr(one, name) for one in phases) for name in ("steps", "samples", "tokens"))
        return cls(*(count / seconds for count in counts))


@dataclass(frozen=True)
class Line:
    """One configuration: predicted, and measured unless it failed for `reason`."""

    predicted: Predicted
    ran: Ran | None = None
    reason: str | None = None

    @property
    def rates(self) -> Rates | None:
        return Rates.of(*self.ran.phases) if self.ran else None

    @property
    def peak_bytes(self) -> int | None:
        """What the prediction is compared with: the allocator's peak or, on a CPU, the growth of resident memory."""
        if self.ran is None:
            return None
        return self.ran.rss_growth_bytes if self.ran.allocated_bytes is None else self.ran.allocated_bytes

    @property
    def error(self) -> float | None:
        """The prediction's error as a share of the measurement: above 0 if it predicted too much."""
        return self.predicted.peak_bytes / self.peak_bytes - 1 if self.peak_bytes else None

    def utilization(self, card: Card | None) -> float | None:
        """Share of the card's dense peak, from the operations that a step computes, including recomputed ones."""
        peak = card and (card.tflops if self.predicted.half_precision else card.tflops_float32)
        if not peak or self.rates is None:
            return None
        return self.predicted.typical.flops * self.rates.steps_per_second / (peak * 1e12)

    @property
    def hours(self) -> float | None:
        """Hours for all its trials, one after the other."""
        steps = self.predicted.extent.steps
        if self.rates is None or steps is None:
            return None
        return steps * self.predicted.trials / self.rates.steps_per_second / 3600


@dataclass(frozen=True)
class Way:
    """One of two ways to train: its rates, and its peak as in `Line.peak_bytes`."""

    rates: Rates
    peak_bytes: int | None


@dataclass(frozen=True)
class Comparison:
    """Two ways to train one configuration, or the reason why they could not be compared."""

    configuration: str | None
    ways: Mapping[str, Way]
    reason: str | None = None

    @property
    def ratio(self) -> float | None:
        """The first way's tokens per second over the second one's."""
        if len(self.ways) < 2:
            return None
        first, second = self.ways.values()
        return first.rates.tokens_per_second / second.rates.tokens_per_second


@dataclass(frozen=True)
class Measured:
    """A sweep, measured by a few steps of each configuration.

    Attributes:
        steps: timed steps per configuration.
        price_per_hour: US dollars for one device, or None.
    """

    device: Device
    device_name: str
    card_name: str | None
    card: Card | None
    random_weights: bool
    steps: int
    lines: tuple[Line, ...]
    comparisons: Mapping[str, Comparison]
    price_per_hour: float | None
    versions: Mapping[str, str]

    @property
    def hours(self) -> float | None:
        """Hours of one device for all trials; None unless every configuration was measured."""
        each = [line.hours for line in self.lines]
        return None if None in each else sum(one for one in each if one is not None)

    @property
    def dollars(self) -> float | None:
        return None if self.hours is None or self.price_per_hour is None else self.hours * self.price_per_hour
