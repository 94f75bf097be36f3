"""What trains a few real steps of a trainable and says what they took: for `python -m sweep.estimate --measure`."""

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
    """Optimizer steps that are timed together, with a log at each step whose number `log_every` divides."""

    steps: int
    log_every: int = 1


@dataclass(frozen=True)
class Timed:
    """What a phase took and did: optimizer steps, seconds, examples, and tokens without padding."""

    steps: int
    seconds: float
    samples: int
    tokens: int


@dataclass(frozen=True)
class Ran:
    """A few real steps: the timed phases in order, and the peaks over all steps, those before the timed ones included.

    Attributes:
        allocated_bytes, reserved_bytes: the CUDA allocator's; None on a CPU.
        rss_bytes: resident memory of the process.
        rss_growth_bytes: by how much it rose above what it was before the model was made; None where that cannot be known.
    """

    phases: tuple[Timed, ...]
    allocated_bytes: int | None
    reserved_bytes: int | None
    rss_bytes: int
    rss_growth_bytes: int | None


@dataclass(frozen=True)
class Asked:
    """What steps are made of beyond a trial's settings.

    Attributes:
        device: which they run on.
        random_weights: the model's configuration is all that is read of it.
        length: tokens of every row, random ones, in place of the data; None for the data.
        threads: of torch; 0 for its own choice.
    """

    device: Device
    random_weights: bool
    length: int | None
    threads: int = 0


class Measurer(Protocol):
    """Trains a few steps, in this process."""

    def device_name(self, device: Device) -> str:
        """What this machine's device calls itself."""

    def check(self, trials: Sequence[Trial], resolve: Resolve, random_weights: bool) -> Sequence[Problem]:
        """All that is wrong with the models."""

    def run(self, trial: Trial, resolve: Resolve, asked: Asked, phases: Sequence[Phase]) -> Ran:
        """A few warm-up steps on the longest rows, which make the peak, then the phases on rows as they come.

        Raises:
            Exception: whatever the libraries raise.
        """

    def packed(self, settings: Settings, device: Device) -> Settings:
        """What to change in the settings, so that rows are packed and kept apart by a kernel from the Hub.

        Raises:
            ValueError: there is no such kernel for this machine, with the reason.
        """
