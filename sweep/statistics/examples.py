"""The held-out examples that all compared trials share, without duplicates, or the clusters that they form."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sweep.errors import SweepError
from sweep.statistics.stats import Floats

if TYPE_CHECKING:
    import pandas as pd

    from sweep.store.loading import Sweep

_UNIT = {"tokens": 1.0, "bytes": math.log(2)}  # nats per token; bits per byte


@dataclass(frozen=True)
class Examples:
    """Held-out units that all compared trials share: summed losses and their weights (tokens or bytes), by trial.

    A unit is an example or, if the data name clusters, a cluster: examples that are sampled together.
    """

    sums: Mapping[str, Floats]
    weights: Mapping[str, Floats]
    count: int
    clusters: bool = False


@dataclass(frozen=True)
class Shared:
    """The trials' comparable losses, the examples behind them if there are any, and warnings about them."""

    losses: Mapping[str, float]
    examples: Examples | None = None
    warnings: tuple[str, ...] = ()


def shared(sweep: "Sweep", losses: Mapping[str, float], weight: str) -> Shared:
    """The examples that all trials with examples share. If any example is left out, losses are recomputed over the rest.

    Args:
        weight: the column that losses are divided by, tokens or bytes.

    Raises:
        SweepError: a trial has a duplicate example.
    """
    frame = sweep.evals[sweep.evals["trial_id"].isin(list(losses))]
    if frame.empty:
        return Shared(losses)
    if frame.duplicated(["trial_id", "example_id"]).any():
        raise SweepError(f"{sweep.location!r}: a trial has two rows for a held-out example in evals/. Run it again.")
    without = sorted(set(losses) - set(frame["trial_id"]))
    kept = {name: loss for name, loss in losses.items() if name not in without}
    warnings = [f"Not compared, since their held-out examples are missing: {', '.join(without)}."] if without else []
    found = of_frame(frame, kept, weight)
    return replace(found, warnings=(*warnings, *found.warnings))


def of_frame(frame: "pd.DataFrame", losses: Mapping[str, float], weight: str) -> Shared:
    """The examples of a frame that all trials in it share: `trial_id`, `example_id`, `loss_sum`, the weight, `content_hash`, `group`."""
    sums, weights = (frame.pivot(index="trial_id", columns="example_id", values=name) for name in ("loss_sum", weight))
    total = sums.shape[1]
    in_all = (sums.notna() & weights.notna()).all()
    cut = in_all & (weights.max() > weights.min()) & (weight == "tokens")
    everywhere = sums.columns[in_all & ~cut]
    about = frame.drop_duplicates("example_id").set_index("example_id").loc[everywhere]
    again = about["content_hash"].notna() & about["content_hash"].duplicated()
    distinct = list(everywhere[~again])
    warnings = []
    if not in_all.all():
        warnings.append(f"{(~in_all).sum()} of {total} held-out examples are not in all trials: left out.")
    if cut.any():
        what = "are longer in some trials than in others, for example because of another max_length"
        warnings.append(f"{cut.sum()} of {total} held-out examples {what}: left out.")
    if again.any():
        warnings.append(f"{again.sum()} of {total} held-out examples are duplicates, token by token: each counts once.")
    if not distinct:
        return Shared(losses, None, tuple(warnings))
    sums, weights = sums[distinct].astype(float), weights[distinct].astype(float)
    if len(distinct) < total:
        means = sums.sum(axis=1) / weights.sum(axis=1) / _UNIT[weight]
        losses = {name: float(means[name]) for name in losses}
    clusters = about.loc[distinct, "group"]
    named = bool(clusters.notna().any())
    if named:
        keys = clusters.where(
            clusters.notna(), [f"\0{name}" for name in distinct]
        )  # an example without a cluster is a cluster of its own
        sums, weights = (table.T.groupby(keys.to_numpy()).sum().T for table in (sums, weights))
    return Shared(losses, Examples(_by_trial(sums), _by_trial(weights), sums.shape[1], named), tuple(warnings))


def _by_trial(frame: "pd.DataFrame") -> dict[str, Floats]:
    return {str(name): row for name, row in zip(frame.index, frame.to_numpy(dtype=float), strict=True)}
