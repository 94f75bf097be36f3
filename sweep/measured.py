"""The loss that is compared: of every trial, and of every held-out example that the trials share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.errors import SweepError
from sweep.groups import Group, parsed, usable
from sweep.stats import Floats
from sweep.store import Row

if TYPE_CHECKING:
    import pandas as pd

    from sweep.loading import Sweep


@dataclass(frozen=True)
class Examples:
    """Held-out examples that all compared trials share: summed losses, and what they are divided by, per trial."""

    sums: Mapping[str, Floats]
    weights: Mapping[str, Floats]
    count: int

    def of(self, trials: Sequence[str]) -> tuple[Floats, Floats]:
        """Sums and weights of shape (trials, examples)."""
        return np.stack([self.sums[name] for name in trials]), np.stack([self.weights[name] for name in trials])


@dataclass(frozen=True)
class Measured:
    """The compared metric of each trial that has it."""

    metric: str | None
    losses: Mapping[str, float]
    examples: Examples | None
    warnings: tuple[str, ...]

    def by_seed(self, group: Group) -> dict[int | None, str]:
        """The group's compared trials, by seed."""
        return {row.get("seed"): row["trial_id"] for row in group.completed if row["trial_id"] in self.losses}

    def mean(self, group: Group) -> float:
        return float(np.mean([self.losses[name] for name in self.by_seed(group).values()]))


def measure(sweep: "Sweep", groups: Sequence[Group]) -> Measured:
    """The loss to compare: held-out loss, in bits per byte across tokenizers; training loss only where there is no other."""
    rows = [row for one in groups for row in one.completed]
    tokenizers = {str(found) for row in rows if (found := parsed(row, "provenance").get("tokenizer")) is not None}
    if len(tokenizers) > 1:
        return _in_bits(sweep, rows)
    for name in ("eval_loss", "train_loss"):
        losses = {row["trial_id"]: float(row[name]) for row in rows if usable(row.get(name))}
        if losses:
            found, warnings = _examples(sweep, losses, "tokens") if name == "eval_loss" else (None, ())
            return Measured(name, losses, found, (*_left_out(rows, losses, name), *warnings, *_remarks(name)))
    return Measured(None, {}, None, ("No completed trial has a loss yet." if not rows else "No trial has a loss.",))


def _remarks(name: str) -> tuple[str, ...]:
    if name == "eval_loss":
        return ()
    return ("There is no held-out loss: training losses are compared, which do not show overfitting.",)


def _left_out(rows: Sequence[Row], losses: Mapping[str, float], name: str) -> list[str]:
    without = [row["trial_id"] for row in rows if row["trial_id"] not in losses]
    return [f"Not compared, since their {name} is missing or not positive: {', '.join(without)}."] if without else []


def _in_bits(sweep: "Sweep", rows: Sequence[Row]) -> Measured:
    bits = bits_per_byte(sweep)
    losses = {row["trial_id"]: bits[row["trial_id"]] for row in rows if usable(bits.get(row["trial_id"]))}
    if not losses:
        return Measured(
            None, {}, None, ("The trials have different tokenizers and no held-out bytes: no loss compares.",)
        )
    examples, warnings = _examples(sweep, losses, "bytes")
    note = "The trials have different tokenizers: held-out loss is compared in bits per byte."
    return Measured("bits_per_byte", losses, examples, (note, *_left_out(rows, losses, "bits_per_byte"), *warnings))


def bits_per_byte(sweep: "Sweep") -> dict[str, float]:
    """Held-out bits per byte of each trial whose examples have their bytes: comparable across tokenizers."""
    totals = sweep.evals.groupby("trial_id")[["loss_sum", "bytes"]].sum(min_count=1)
    return {
        str(name): float(total) / math.log(2) / int(count)
        for name, total, count in zip(totals.index, totals["loss_sum"], totals["bytes"].fillna(0), strict=True)
        if count > 0
    }


def _examples(sweep: "Sweep", losses: Mapping[str, float], weight: str) -> tuple[Examples | None, tuple[str, ...]]:
    """The examples that all trials share, and a warning where some do not."""
    frame = sweep.evals[sweep.evals["trial_id"].isin(list(losses))]
    missing = sorted(set(losses) - set(frame["trial_id"]))
    if missing:
        some = () if frame.empty else (f"No held-out examples of {', '.join(missing)}: evaluation noise is left out.",)
        return None, some
    if frame.duplicated(["trial_id", "example_id"]).any():
        raise SweepError(f"{sweep.location!r}: a trial has two rows for a held-out example in evals/. Run it again.")
    sums, weights = (frame.pivot(index="trial_id", columns="example_id", values=name) for name in ("loss_sum", weight))
    shared = list(sums.columns[(sums.notna() & weights.notna()).all()])
    total = frame["example_id"].nunique()
    warnings = (
        () if len(shared) == total else (f"{total - len(shared)} of {total} held-out examples are not in all trials.",)
    )
    if not shared:
        return None, warnings
    return Examples(_by_trial(sums[shared]), _by_trial(weights[shared]), len(shared)), warnings


def _by_trial(frame: "pd.DataFrame") -> dict[str, Floats]:
    return {str(name): row for name, row in zip(frame.index, frame.to_numpy(dtype=float), strict=True)}
