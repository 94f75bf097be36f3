"""What a trainable is, and what it is given: the line between Ray Tune's side of a trial and the training itself.

A trainable is a class without arguments that has `run`; `check` and `prepare` run on the driver before anything starts.
With `footprints` (see sweep/disk.py) and `lengths` (sweep/length.py), by trial id, `--dry_run` can say more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sweep.common.names import Resolve
from sweep.space import Trial
from sweep.store.checkpoints import Checkpoint
from sweep.store.store import Row


@dataclass
class Context:
    """One attempt of one trial, as its training sees it. Lives in the trial's process.

    `report` takes a row of step columns and never waits; `note` takes a step's number and more metrics of it for the
    trial's trackers, before its row is reported; `save` hands over a folder to be kept as the trial's newest
    checkpoint, `final` one that holds the result; `resume_from` is the checkpoint to go on from, `earlier` the step rows
    that were made up to it. `phase` takes what the trial does before its first step and after its last, with the rows that
    are left of it, if it has rows: it is shown to the user, and never waits.
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
    evals: list[Row] = field(default_factory=list)
    final: Path | None = None
    so_far: Row = field(default_factory=dict)  # columns of the trial's row in case that it raises
    leftovers: list[Any] = field(
        default_factory=list
    )  # weak references that must be dead before the process is used again


class Trainable(Protocol):
    """What the runner can run.

    One that imports much may have `warm` as well: it imports it, before the first trial. One whose trials depend on more than
    their settings may have `identify(trials, resolve)`, which gives a `sweep.contract.identity.Identity`: the same command then refuses
    another content under the same name, and every row has its own trial's fingerprints.
    """

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        """All that is wrong with the trials' data and model; runs on the driver, starts nothing."""

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        """What all trials share (it travels through Ray's object store), and what to note of it as provenance."""

    def run(self, context: Context) -> Row:
        """Trains; reports each step; returns the trial's columns, `status` among them where it is not "completed"."""
