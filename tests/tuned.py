"""Sweeps with a tuned learning rate and a known truth: each rank at values of its own, the best ones with more seeds.

In memory as a frame-like `Sweep`, for many; or as a finished sweep's files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sweep.common.column import schema
from sweep.space import FULL
from sweep.statistics.stats import Floats
from sweep.store.columns import TRIALS
from sweep.store.loading import Sweep
from sweep.store.store import Row, Store
from tests.simulate import Design, losses

LADDER = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
QUIET = Design((), 3, 100, seed_noise=0.001, training_noise=0.0003, interaction=0.002, rest=0.002)


@dataclass(frozen=True)
class Tried:
    """One rank at one learning rate.

    Attributes:
        rank: None for full fine-tuning.
        effect: its log ratio to the best.
        seeds: how many it was trained with, from the first.
        status: how its last seed ended.
    """

    rank: int | None
    rate: float
    effect: float
    seeds: int = 1
    status: str = "completed"

    def trial_id(self, seed: int) -> str:
        return f"{FULL if self.rank is None else f'r{self.rank}'}-{self.rate:g}-s{seed}"


# As --tune leaves it: r=32 bracketed, r=8 followed where its best rate was, r=2 out at the ladder's end, full with rates of its own.
SMALL = (
    Tried(2, 3e-3, 0.06),
    Tried(2, 1e-2, 0.05),
    Tried(8, 1e-3, 0.012),
    Tried(8, 3e-3, 0.0, 3),
    Tried(8, 1e-2, 0.0, 1, "diverged"),
    Tried(32, 3e-4, 0.02),
    Tried(32, 1e-3, 0.0, 3),
    Tried(32, 3e-3, 0.03),
    Tried(None, 3e-4, 0.03),
    Tried(None, 1e-4, 0.0, 3),
)


def config(tried: Sequence[Tried], **tune: Any) -> dict[str, Any]:
    """A tuned sweep's sweep.json."""
    ranks = list(dict.fromkeys(one.rank or FULL for one in tried))
    axes = {"lora_r": ranks, "seed": [0, 1, 2], "learning_rate": sorted({one.rate for one in tried})}
    note = {"key": "learning_rate", "ladder": list(LADDER), **tune}
    return {"trials": planned(tried), "axes": axes, "base": {}, "provenance": {}, "tune": note}


def planned(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The trials as sweep.json lists them: those that were wanted."""
    kept = ("trial_id", "method", "lora_r", "lora_alpha", "seed", "learning_rate")
    rows = [_row(one, seed, one.status, 0.0) for one in tried for seed in range(one.seeds)]
    return [{key: row[key] for key in kept} for row in rows]


def sums(tried: Sequence[Tried], design: Design, sweeps: int, seed: int) -> tuple[Floats, Floats]:
    """Summed losses of shape (sweeps, tried, seeds, examples), and tokens of shape (sweeps, examples)."""
    return losses(replace(design, effects=tuple(one.effect for one in tried)), sweeps, np.random.default_rng(seed))


def rows(tried: Sequence[Tried], sums: Floats, tokens: Floats) -> tuple[list[Row], pd.DataFrame]:
    """One sweep's trial rows and held-out examples, from sums (tried, seeds, examples)."""
    found = [
        _row(one, seed, one.status if seed == one.seeds - 1 else "completed", float(own.sum() / tokens.sum()))
        for one, by_seed in zip(tried, sums, strict=True)
        for seed, own in enumerate(by_seed[: one.seeds])
    ]
    losses = np.concatenate([by_seed[: one.seeds] for one, by_seed in zip(tried, sums, strict=True)])
    kept = [place for place, row in enumerate(found) if row["status"] == "completed"]
    evals = pd.DataFrame(
        {
            "trial_id": np.repeat([found[place]["trial_id"] for place in kept], len(tokens)),
            "example_id": np.tile(np.arange(len(tokens)), len(kept)),
            "tokens": np.tile(tokens.astype(int), len(kept)),
            "loss_sum": losses[kept].ravel(),
        }
    )
    return found, evals.assign(bytes=float("nan"), content_hash=None, group=None)


def _row(one: Tried, seed: int, status: str, loss: float) -> Row:
    size = 1000 if one.rank is None else one.rank
    return {
        "trial_id": one.trial_id(seed),
        "status": status,
        "attempts": 1,
        "method": FULL if one.rank is None else "lora",
        "lora_r": one.rank,
        "lora_alpha": None if one.rank is None else 32.0,
        "seed": seed,
        "eval_loss": loss if status == "completed" else None,
        "train_loss": loss * 0.95 if status == "completed" else None,
        "train_runtime": 100.0 + 0.1 * size,
        "train_samples_per_second": 20.0,
        "trainable_parameters": 1000 * size,
        "peak_memory_allocated_bytes": 3_000_000_000 + 10_000_000 * size,
        "learning_rate": one.rate,
    }


def in_memory(tried: Sequence[Tried], sums: Floats, tokens: Floats, note: Mapping[str, Any] | None = None) -> Sweep:
    """One sweep as an answer reads it, from sums (tried, seeds, examples)."""
    found, evals = rows(tried, sums, tokens)
    sweep = Sweep("tuned", rows=pa.Table.from_pylist(found, schema=schema(TRIALS, {"learning_rate": 0.1})))
    sweep.__dict__.update(config=config(tried, **(note or {})), evals=evals)
    return sweep


def write(store: Store, tried: Sequence[Tried] = SMALL, design: Design = QUIET, **note: Any) -> Store:
    """A finished sweep's files."""
    total, tokens = sums(tried, design, 1, 0)
    found, evals = rows(tried, total[0], tokens[0])
    store.write_sweep(config(tried, **note))
    for name, own in evals[["trial_id", "example_id", "tokens", "loss_sum"]].groupby("trial_id"):
        records = [{str(key): value for key, value in row.items()} for row in own.to_dict("records")]
        store.write_evals(str(name), records)
    for row in found:
        rate = row.pop("learning_rate")
        store.write_trial(row, {"learning_rate": rate})
    return store
