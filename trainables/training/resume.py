"""What a checkpoint holds besides the trainer's own files, and what an attempt resumes from.

sweep-training.json     what training took up to it, over all attempts
best/                   with load_best_model_at_end: the best one so far, where that is another
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers import TrainerState

from sweep.store.checkpoints import SEAL, Checkpoint
from trainables.training.meters import Counted

TOOK, BEST, STATE = "sweep-training.json", "best", "trainer_state.json"
NOT_KEPT = ("training_args.bin",)  # a pickle that contains the machine's paths
NOT_OF_THE_BEST = (
    "optimizer*",
    "scheduler*",
    "scaler*",
    "rng_state*",
    SEAL,
    TOOK,
    BEST,
)  # training continues elsewhere


class NothingLeft(Exception):
    """Leaves the trainer before its first step: it checks for the end after a step, never before one."""


@dataclass(frozen=True)
class Took:
    """What training took up to a checkpoint, over all attempts, no step counted twice."""

    seconds: float = 0.0
    counted: Counted = field(default_factory=Counted)
    evaluation_peak_bytes: int | None = None


@dataclass(frozen=True)
class Start:
    """Where an attempt starts.

    Attributes:
        weights: the folder that the trainer loads; None for an attempt that starts at the first step.
        state: the trainer's state in the newest checkpoint.
        took: what training took up to there; None if unknown.
    """

    weights: Path | None = None
    state: TrainerState | None = None
    took: Took | None = field(default_factory=Took)

    @property
    def nothing_left(self) -> bool:
        return self.state is not None and self.state.global_step >= self.state.max_steps


def start(found: Checkpoint | None, load_best: bool) -> Start:
    """What to resume from: the best model's weights if it is wanted and nothing is left to train."""
    if found is None:
        return Start()
    state = TrainerState.load_from_json(str(found.folder / STATE))
    best = _best(found.folder, state)
    state.best_model_checkpoint = str(best) if best else None  # its path belongs to the attempt that made it
    state.save_to_json(str(found.folder / STATE))
    begin = Start(found.folder, state, _took(found.folder))
    return Start(best, state, begin.took) if begin.nothing_left and load_best and best else begin


def _best(folder: Path, state: TrainerState) -> Path | None:
    if (folder / BEST).is_dir():  # inside, the trainer would take it for a second adapter
        return (folder / BEST).rename(folder.with_name(BEST))
    return folder if state.best_model_checkpoint and state.best_global_step == state.global_step else None


def _took(folder: Path) -> Took | None:
    if not (folder / TOOK).is_file():  # written by an earlier version
        return None
    content = json.loads((folder / TOOK).read_text())
    return Took(**{**content, "counted": Counted.of(content["counted"])})


def copy(made: Path, into: Path, best: Path | None) -> None:
    """The trainer's folder and the best one as hard links: the trainer may remove its own files at any time."""
    shutil.copytree(made, into, copy_function=os.link, ignore=shutil.ignore_patterns(*NOT_KEPT))
    if best is not None and not best.samefile(made):
        ignored = shutil.ignore_patterns(*NOT_KEPT, *NOT_OF_THE_BEST)
        shutil.copytree(best, into / BEST, copy_function=os.link, ignore=ignored)


def note(folder: Path, took: Took) -> None:
    """Writes what training took up to a checkpoint into it."""
    (folder / TOOK).write_text(json.dumps(asdict(took)))
