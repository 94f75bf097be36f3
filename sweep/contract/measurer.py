"""The interface that trains and measures a few real steps, for `python -m sweep.estimate --measure`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweep.common.names import Resolve
from sweep.contract.memory import Device
from sweep.contract.predictor import Settings
from sweep.errors import Problem
from sweep.space import Trial


@dataclass(frozen=True)
class Phase:
    """Optimizer steps that are timed together; every `log_every` steps, metrics are logged."""

    steps: int
    log_every: int = 1


@dataclass(frozen=True)
class Timed:
    """What a phase did and how long it took: optimizer steps, seconds, examples, and non-padding tokens."""

    steps: int
    seconds: float
    samples: int
    tokens: int


@dataclass(frozen=True)
class Ran:
    """A few real steps: the timed phases in order, and the peaks over all steps, warm-up included.

    Attributes:
        allocated_bytes, reserved_bytes: the CUDA allocator's; None on a CPU.
        rss_bytes: resident memory of the process.
        rss_growth_bytes: its growth since before the model was created; None if that cannot be known.
    """

    phases: tuple[Timed, ...]
    allocated_bytes: int | None
    reserved_bytes: int | None
    rss_bytes: int
    rss_growth_bytes: int | None


@dataclass(frozen=True)
class Asked:
    """How the steps are to run, beyond a trial's settings.

    Attributes:
        device: the device they run on.
        random_weights: only the model's configuration is read, not its weights.
        length: tokens per row of random data, in place of the real data; None for the real data.
        threads: torch's; 0 leaves the choice to torch.
    """

    device: Device
    random_weights: bool
    length: int | None
    threads: int = 0


class Measurer(Protocol):
    """Trains a few steps, in this process."""

    def device_name(self, device: Device) -> str:
        """The name of this machine's device, as it reports it."""

    def check(self, trials: Sequence[Trial], resolve: Resolve, random_weights: bool) -> Sequence[Problem]:
        """Everything that is wrong with the models."""

    def run(self, trial: Trial, resolve: Resolve, asked: Asked, phases: Sequence[Phase]) -> Ran:
        """Runs a few warm-up steps on the longest rows, which set the peak, then the phases on rows as they come.

        Raises:
            Exception: whatever the libraries raise.
        """

    def packed(self, settings: Settings, device: Device) -> Settings:
        """Settings to change so that rows are packed, and kept apart by an attention kernel from the Hub.

        Raises:
            ValueError: there is no such kernel for this machine; the message says why.
        """
