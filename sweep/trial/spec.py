"""What an attempt is made from: frozen, typed, and the same for each attempt of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrialSpec:
    """One trial.

    Attributes:
        settings: what it trains with.
        columns: of its row, as they are known before it runs; `axes`: those of the grid's further axes.
        fingerprints: of its data, tokenizer and model; they go into its row's provenance.
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


@dataclass(frozen=True)
class SweepSpec:
    """What all trials of a sweep have in common.

    Attributes:
        name: the sweep's; `location`: where its files are; `nonce`: whose lock it writes under.
        base: the folder where the user stands, which local names are relative to.
        spool: the folder on the worker's machine for what waits for the store.
        threads: of torch; 0 leaves them as they are.
        gpus: what a trial was given; below 1, it shares one.
        must_fit: whether a trial whose predicted memory does not fit its device is not trained.
        patience_s: seconds that a trial waits for a store that is away.
        verbose: whether a trial's output is shown as well as logged.
        provenance: what goes into every row.
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
