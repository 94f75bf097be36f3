"""What a smaller rank could represent: the largest rank's trained adapter, truncated. A sign of starvation, never a verdict."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.answer.groups import Group, parsed, usable
from sweep.answer.measured import Measured
from sweep.common.formatting import listed
from sweep.store.columns import METRICS
from sweep.store.store import Row

_LOSS = "eval_loss"


@dataclass(frozen=True)
class Cut:
    """A configuration compared with the largest rank's adapter cut to its rank, over the seeds that both have.

    Attributes:
        source: label of the largest rank's configuration.
        loss: held-out loss of the cut adapter.
        trained: held-out loss of the configuration itself.
    """

    source: str
    loss: float
    trained: float


def cuts(groups: Sequence[Group], measured: Measured, tuned: str | None) -> dict[str, Cut]:
    """Cuts by label; empty unless held-out loss is what is compared.

    Args:
        groups: the compared configurations: each rank with its chosen value of the tuned setting.
    """
    if measured.metric != _LOSS:
        return {}
    families: dict[tuple[Any, ...], list[Group]] = {}
    for one in groups:
        if one.rows[0].get("lora_r") is not None:
            families.setdefault(tuple(pair for pair in one.axes.items() if pair[0] != tuned), []).append(one)
    return {label: cut for members in families.values() for label, cut in _of_family(members, measured).items()}


def _of_family(members: Sequence[Group], measured: Measured) -> dict[str, Cut]:
    """Cuts of configurations that differ only in rank."""
    sources = [one for one in members if any(_cut_losses(row) for row in _compared(one, measured))]
    if not sources:
        return {}
    largest = max(sources, key=_rank)
    by_seed = {row.get("seed"): _cut_losses(row) for row in _compared(largest, measured)}
    found = {one.label: _cut(one, largest.label, by_seed, measured) for one in members if _rank(one) < _rank(largest)}
    return {label: one for label, one in found.items() if one}


def _rank(one: Group) -> int:
    return int(one.rows[0]["lora_r"])


def _compared(one: Group, measured: Measured) -> list[Row]:
    kept = measured.by_seed(one).values()
    return [row for row in one.completed if row["trial_id"] in kept]


def _cut_losses(row: Row) -> dict[str, float]:
    """A row's cut losses by rank."""
    found = parsed(row, "cut_losses").items()
    return {rank: float(loss) for rank, loss in found if isinstance(loss, int | float) and usable(loss)}


def _cut(one: Group, source: str, by_seed: Mapping[Any, Mapping[str, float]], measured: Measured) -> Cut | None:
    rank = str(_rank(one))
    trained = {row.get("seed"): row[_LOSS] for row in _compared(one, measured)}
    both = [seed for seed, found in by_seed.items() if rank in found and seed in trained]
    if not both:
        return None
    return Cut(
        source, statistics.fmean(by_seed[seed][rank] for seed in both), statistics.fmean(trained[seed] for seed in both)
    )


def starvation_warnings(found: Mapping[str, Cut], margin: float) -> list[str]:
    """A sentence for each largest rank whose cut adapter is better than a smaller rank's own training."""
    column = METRICS[_LOSS]
    by_source: dict[str, list[str]] = {}
    for label, one in found.items():
        if one.trained > one.loss * (1 + margin):
            line = f"{label} ({column.text(one.loss)} against {column.text(one.trained)})"
            by_source.setdefault(one.source, []).append(line)
    return [
        f"A sign of starvation: {source}'s trained adapter, cut to a smaller rank, has a lower held-out loss than that rank's own "
        f"training: {listed(lines)}. This points to the learning rate or the number of steps, not to the rank's size; no verdict "
        "rests on it."
        for source, lines in by_source.items()
    ]
