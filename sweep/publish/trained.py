"""Finds the trial to export and its trained weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sweep.answer.answer import Answer
from sweep.common.formatting import first_few
from sweep.config.fields import nearest
from sweep.errors import StoreError, SweepError
from sweep.store import checkpoints
from sweep.store.checkpoints import Found
from sweep.store.loading import Sweep
from sweep.store.store import Row, Store, unreadable


@dataclass(frozen=True)
class Trained:
    """A trial that was trained to its end.

    Attributes:
        row: its trial row.
        label: its configuration's label in the answer.
        final: its complete final checkpoint.
    """

    store: Store
    row: Row
    label: str
    final: Found

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings that differ from TRL's defaults."""
        return _parsed(self.row, "settings")

    @property
    def provenance(self) -> Mapping[str, Any]:
        return _parsed(self.row, "provenance")


def choose(sweep: Sweep, answer: Answer, trial_id: str | None) -> Trained:
    """The named trial or, by default, the recommended one.

    Raises:
        SweepError: none is recommended, there is no such trial, or it has no weights.
        StoreError: the sweep cannot be read.
    """
    rows = {str(row["trial_id"]): row for row in sweep.records()}
    recommended = answer.recommendation.trial_id if answer.recommendation else None
    name = trial_id if trial_id is not None else recommended
    if name is None:
        raise SweepError(
            f"{sweep.location!r} recommends nothing to export: no completed trial has a loss to compare. {_named(rows)}"
        )
    if name not in rows:
        raise SweepError(f"--trial {name}: {sweep.location!r} has no such trial.{nearest(name, rows)} {_named(rows)}")
    assert sweep.store is not None
    final = _final(sweep.store, rows[name])
    return Trained(sweep.store, rows[name], _label(answer, name), final)


def _named(rows: Mapping[str, Row]) -> str:
    whole = [name for name, row in rows.items() if str(row["checkpoint"]).endswith(f"/{checkpoints.FINAL}")]
    return f"Give one with --trial: {first_few(whole)}." if whole else "Run the sweep's command again: it trains them."


def _label(answer: Answer, name: str) -> str:
    return next((one.label for one in answer.configurations if name in one.trials), name)


def _final(store: Store, row: Row) -> Found:
    """The trial's final checkpoint, complete."""
    name = row["trial_id"]
    try:
        found = checkpoints.newest(store, name, row["micro_batch"])
    except (OSError, pa.ArrowException) as error:
        raise unreadable(store.location, error) from error
    if found is not None and found.seal["outcome"] is not None:
        return found
    if not str(row["checkpoint"]).endswith(f"/{checkpoints.FINAL}"):
        raise SweepError(
            f"Trial {name} has no trained weights to export: it is {row['status']}, and only trials that were trained to their end have "
            "them. Name another one with --trial."
        )
    raise StoreError(
        f"Trial {name}'s weights are gone: {store.uri(row['checkpoint'])} is missing or incomplete. Name another one with "
        f"--trial; or delete {store.uri('trials', f'{name}.parquet')} and run the sweep's command again, which trains it again."
    )


def _parsed(row: Row, column: str) -> Mapping[str, Any]:
    found = json.loads(row[column] or "{}")
    return found if isinstance(found, dict) else {}
