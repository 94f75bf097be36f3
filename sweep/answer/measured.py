"""The loss to compare: of every trial, and of every held-out example that the trials share."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweep.answer.groups import Group, parsed, usable
from sweep.contract.trainable import NATS_PER_TOKEN
from sweep.statistics.examples import Examples, shared
from sweep.store.store import Row

if TYPE_CHECKING:
    from sweep.store.loading import Sweep

OTHER_TEXTS = (
    "The trials were evaluated on different data: a loss on other texts says nothing about the configuration, so nothing is "
    "claimed. Compare within one data set."
)
# A run that went wrong but still has a loss is far from the same configuration's runs with other seeds.
_LEAST = math.log(1.05)  # a run within 5 % of its siblings is never called bad: that is what the spread accounts for
_TIMES = 10.0  # with normal noise, one run in 10²³ is this many standard deviations away
_NORMAL = 1.4826  # ratio of a normal distribution's standard deviation to its median absolute deviation
_FEWEST = 3  # with two runs, nothing tells which is the outlier


@dataclass(frozen=True)
class FarOff:
    """A run's loss, and the median of its configuration's."""

    loss: float
    usual: float


@dataclass(frozen=True)
class Measured:
    """The compared metric of each trial that has it, without bad runs."""

    metric: str | None
    losses: Mapping[str, float]
    examples: Examples | None
    warnings: tuple[str, ...]
    bad: Mapping[str, FarOff] = field(default_factory=dict)

    def by_seed(self, group: Group) -> dict[int | None, str]:
        """The group's compared trials, by seed."""
        return {row.get("seed"): row["trial_id"] for row in group.completed if row["trial_id"] in self.losses}


def tokenizers(rows: Iterable[Row]) -> set[str]:
    """The tokenizers of the completed trials, as far as they are recorded."""
    found = (parsed(row, "provenance").get("tokenizer") for row in rows if row["status"] == "completed")
    return {str(one) for one in found if one is not None}


def measure(sweep: "Sweep", groups: Sequence[Group], in_bits: bool = False) -> Measured:
    """The loss to compare: held-out loss, in bits per byte across tokenizers; training loss only if there is no other.

    Args:
        in_bits: whether to use bits per byte, because something else in the table has another tokenizer.
    """
    rows = [row for one in groups for row in one.completed]
    if in_bits or len(tokenizers(rows)) > 1:
        return _in_bits(sweep, groups, rows)
    for name in ("eval_loss", "train_loss"):
        losses = {row["trial_id"]: float(row[name]) for row in rows if usable(row.get(name))}
        if losses:
            return _of(sweep, groups, name, losses, _remarks(name))
    return Measured(None, {}, None, ("No completed trial has a loss yet." if not rows else "No trial has a loss.",))


def _of(
    sweep: "Sweep", groups: Sequence[Group], name: str, losses: Mapping[str, float], remarks: tuple[str, ...]
) -> Measured:
    """A metric's losses without the bad runs, with the examples behind them."""
    rows = [row for one in groups for row in one.completed]
    without = [row["trial_id"] for row in rows if row["trial_id"] not in losses]
    warnings = (
        [f"Not compared, since their {name} is missing or not positive: {', '.join(without)}."] if without else []
    )
    bad = far_off(groups, losses)
    warnings += [
        f"{trial} ended at {one.loss:.4g}, far from the {one.usual:.4g} of its other seeds: it is treated as a bad run and left out."
        for trial, one in bad.items()
    ]
    kept = {trial: loss for trial, loss in losses.items() if trial not in bad}
    if name == "train_loss":
        return Measured(name, kept, None, (*remarks, *warnings), bad)
    if len({parsed(row, "provenance").get("data_fingerprint") for row in rows if row["trial_id"] in kept} - {None}) > 1:
        return Measured(name, kept, None, (*remarks, *warnings, OTHER_TEXTS), bad)
    found = shared(sweep, kept, "tokens" if name == "eval_loss" else "bytes")
    return Measured(name, found.losses, found.examples, (*remarks, *warnings, *found.warnings), bad)


def _remarks(name: str) -> tuple[str, ...]:
    if name == "eval_loss":
        return ()
    return ("There is no held-out loss: training losses are compared, which do not show overfitting.",)


def _in_bits(sweep: "Sweep", groups: Sequence[Group], rows: Sequence[Row]) -> Measured:
    bits = bits_per_byte(sweep)
    losses = {row["trial_id"]: bits[row["trial_id"]] for row in rows if usable(bits.get(row["trial_id"]))}
    if not losses:
        return Measured(
            None, {}, None, ("The trials have different tokenizers and no held-out bytes: no loss compares.",)
        )
    note = "The trials have different tokenizers: held-out loss is compared in bits per byte."
    return _of(sweep, groups, "bits_per_byte", losses, (note,))


def bits_per_byte(sweep: "Sweep") -> dict[str, float]:
    """Held-out bits per byte of each trial whose examples record bytes: comparable across tokenizers.

    Empty if the trainable's losses are not nats per token.
    """
    if sweep.config.get("loss_unit", NATS_PER_TOKEN) != NATS_PER_TOKEN:
        return {}
    totals = sweep.evals.groupby("trial_id")[["loss_sum", "bytes"]].sum(min_count=1)
    return {
        str(name): float(total) / math.log(2) / int(count)
        for name, total, count in zip(totals.index, totals["loss_sum"], totals["bytes"].fillna(0), strict=True)
        if count > 0
    }


def far_off(groups: Sequence[Group], losses: Mapping[str, float]) -> dict[str, FarOff]:
    """Runs far from their siblings, compared with the spread of all runs around their configuration's median.

    A seed that is far off in every configuration is not a bad run: the differences between configurations are unaffected.
    """
    usual, runs = {}, {}
    for one in groups:
        own = {row["trial_id"]: row.get("seed") for row in one.completed if row["trial_id"] in losses}
        if len(own) >= _FEWEST:
            middle = statistics.median(losses[name] for name in own)
            usual.update(dict.fromkeys(own, middle))
            runs.update(own)
    distance = {name: abs(math.log(losses[name] / usual[name])) for name in runs}
    apart = sorted(value for value in distance.values() if value)  # the median of three is its own run
    if not apart:
        return {}
    least = max(_LEAST, _TIMES * _NORMAL * apart[(len(apart) - 1) // 2])
    found = [name for name, value in distance.items() if value > least]
    everywhere = {seed for seed in runs.values() if all(name in found for name in runs if runs[name] == seed)}
    several = len({usual[name] for name in runs}) > 1
    return {name: FarOff(losses[name], usual[name]) for name in found if not (several and runs[name] in everywhere)}
