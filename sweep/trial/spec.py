"""What an attempt is constructed from: frozen, typed, and the same for every attempt of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweep.store.result_grid import SHRUNK


@dataclass(frozen=True)
class TrialSpec:
    """One trial.

    Attributes:
        settings: the settings that it trains with.
        columns: columns of its row that are known before it runs; `axes`: those of the grid's further axes.
        fingerprints: of its data, tokenizer and model, for its row's provenance.
        micro_batch: as in the trial's row; it resumes from checkpoints of the same one only.
        smaller_ranks: the sweep's other LoRA ranks, of a trial of the largest.
    """

    trial_id: str
    settings: Mapping[str, Any]
    columns: Mapping[str, Any]
    axes: Mapping[str, Any]
    fingerprints: Mapping[str, Any]
    micro_batch: int | None = None
    smaller_ranks: tuple[int, ...] = ()


def request_name(trial: Mapping[str, Any]) -> str:
    """The name under which Tune runs a trial, from its configuration there: its id, with a suffix if it is shrunk."""
    name: str = trial["trial_id"]
    return f"{name}{SHRUNK}" if trial.get("micro_batch") else name


@dataclass(frozen=True)
class SweepSpec:
    """What all trials of a sweep have in common.

    Attributes:
        name: the sweep's; `location`: where its files are; `nonce`: whose lock it writes under.
        base: the user's working directory, which local names are relative to.
        spool: the folder on the worker's machine for what the store has not taken yet.
        threads: torch's; 0 leaves the choice to torch.
        gpus: how many a trial has; below 1, it shares one.
        must_fit: whether a trial whose predicted memory does not fit its device is not trained.
        patience_s: seconds that a trial waits for an unreachable store.
        verbose: whether a trial's output is shown as well as logged.
        provenance: what goes into every row.
        trials: by `request_name`.
    """

    name: str
    location: str
    nonce: str | None
    base: str
    spool: str
    threads: int
    gpus: float
    must_fit: bool
    patience_s: float
    verbose: bool
    provenance: Mapping[str, Any]
    trials: Mapping[str, TrialSpec]
