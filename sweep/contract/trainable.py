"""What a trainable is, and what it is given: the boundary between Ray Tune's side of a trial and the training itself.

`run`, `warm` and `device_bytes` are called in a trial's process; everything else on the driver, before anything starts.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sweep.common.names import Resolve
from sweep.contract.disk import Footprint
from sweep.contract.identity import Identity
from sweep.contract.length import Length
from sweep.contract.measurer import Measurer
from sweep.contract.predictor import Predictor
from sweep.errors import Problem
from sweep.space import Trial
from sweep.store.checkpoints import Checkpoint
from sweep.store.store import Row

NATS_PER_TOKEN = "nats/token"


@dataclass
class Context:
    """One attempt of one trial, as its training sees it. Lives in the trial's process.

    `report` takes a row of step columns and never blocks; `note` takes a step's number and further metrics for the
    trial's trackers, before the step's row is reported; `save` hands over a folder to be kept as the trial's newest
    checkpoint; `final` is the folder that holds the result; `resume_from` is the checkpoint to resume from, `earlier` the
    step rows up to it. `phase` takes what the trial does before its first step or after its last, with the number of rows
    left, if it processes rows: it is shown to the user, and never blocks. `smaller_ranks` are those that the trial's
    adapter may be cut to for the column `cut_losses`; empty unless the trial has the sweep's largest LoRA rank. `once`
    takes a key and a function, and returns the rows that the function makes: those of EVALS that another trial of the sweep
    has made under that key, if there are any. `scores` are rows of SCORES, as `evals` are of EVALS.
    """

    trial_id: str
    settings: Mapping[str, Any]
    shared: Any
    resolve: Resolve
    work_dir: Path
    report: Callable[[Row], None]
    save: Callable[[Path, int], None]
    should_stop: Callable[[], bool]
    note: Callable[[int, Row], None] = lambda step, metrics: None
    phase: Callable[[str, int | None], None] = lambda name, rows_left: None
    threads: int = 1
    verbose: bool = False
    resume_from: Checkpoint | None = None
    earlier: Sequence[Row] = ()
    total_steps: int | None = None
    smaller_ranks: Sequence[int] = ()
    once: Callable[[str, Callable[[], list[Row]]], list[Row]] = lambda key, make: make()
    evals: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    final: Path | None = None
    so_far: Row = field(default_factory=dict)  # columns of the trial's row if it raises
    leftovers: list[Any] = field(
        default_factory=list
    )  # weak references that must be dead before the process is used again


@dataclass(frozen=True)
class Machine:
    """What the trials will run on, as far as the driver knows.

    Attributes:
        here: they run on this machine, with its packages. A cluster's nodes may have others.
        without_cuda: why they have no CUDA device, in words; None if they have one, or if it is unknown.
    """

    here: bool
    without_cuda: str | None = None


class Trainable(ABC):
    """Runs trials; constructed without arguments. `check`, `prepare` and `run` are required; the rest have defaults.

    What it declares is read by importing its module alone:

    Attributes:
        CONFIGS: dataclasses as "module:name" whose fields are its settings, each a flag under the field's name. They are
            imported when a configuration is read, and constructed from every trial's settings: what they raise is reported.
        SETTINGS: further settings, (type, help) by name; a trial has those that the user gave.
        REQUIRED: settings that a trial cannot do without.
        FORMS: the data formats that it trains on, by name, with the columns that define each.
        LOSS_UNIT: of `loss`, `train_loss` and `eval_loss`. Bits per byte are reported only for nats per token.
    """

    CONFIGS: ClassVar[tuple[str, ...]] = (
        *("trl:SFTConfig", "trl:ModelConfig", "trl:ScriptArguments"),
        "sweep.contract.data:DataArguments",
    )
    SETTINGS: ClassVar[Mapping[str, tuple[Any, str]]] = {}
    REQUIRED: ClassVar[tuple[str, ...]] = ()
    FORMS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    LOSS_UNIT: ClassVar[str] = NATS_PER_TOKEN

    @abstractmethod
    def check(self, trials: Sequence[Trial], resolve: Resolve) -> Sequence[Problem]:
        """Everything that is wrong with the trials' data and model; starts nothing.

        A `Complaint` names the setting at fault and is shown with where the user wrote it; a string is shown as it is.
        """

    @abstractmethod
    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        """What all trials share (it travels through Ray's object store), and its provenance to be recorded."""

    @abstractmethod
    def run(self, context: Context) -> Row:
        """Trains; reports each step; returns the trial's columns, with `status` unless it is "completed"."""

    def check_machine(self, trials: Sequence[Trial], machine: Machine) -> Sequence[Problem]:
        """What would make the trials fail on that machine."""
        return []

    def identify(self, trials: Sequence[Trial], resolve: Resolve) -> Identity:
        """What the trials depend on beyond their settings. Resuming then refuses changed content under the same name, and
        every row has its own trial's fingerprints."""
        return {}

    def lengths(self, trials: Sequence[Trial], resolve: Resolve) -> Mapping[str, Length]:
        """How long the trials are, by trial id, for `--dry_run`."""
        return {}

    def scored(self, trials: Sequence[Trial], resolve: Resolve) -> Sequence[str]:
        """What is scored beside the held-out loss, in sentences for `--dry_run`."""
        return []

    def footprints(self, trials: Sequence[Trial], resolve: Resolve) -> Mapping[str, Footprint]:
        """How large the trials' checkpoints will be, by trial id, for `--dry_run`."""
        return {}

    def predictor(self) -> Predictor | None:
        """Predicts the trials' steps, for `python -m sweep.estimate` and `--admit`; None if not supported."""
        return None

    def measurer(self) -> Measurer | None:
        """Trains a few real steps for `python -m sweep.estimate --measure`; None if not supported."""
        return None

    def device_bytes(self) -> int | None:
        """Memory of the device that `run` trains on in this process; None where it trains on none, or that is not known.

        Called after `warm`: by default it is that of torch's CUDA device, if torch has been imported.
        """
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available():
            return None
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)

    def warm(self) -> None:  # noqa: B027  # may do nothing
        """Imports what `run` needs, before a process's first trial: the state that libraries set at import counts as clean."""
