"""Sweeps with a known truth: losses as arrays, and the same through the store in the real schema.

An example's summed loss is tokens × hardness × exp(effect of the configuration + noises). Hardness has a heavy tail and
is the same for every seed and configuration. The noises are of the seed (shared by all configurations: data order), of
the training run, of the configuration on the example (kept by every seed: what pairing by seed cannot see) and a rest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.compare import Compared, compare
from sweep.groups import Group
from sweep.measured import Examples, Measured
from sweep.stats import CONFIDENCE, Floats
from sweep.store import Store


@dataclass(frozen=True)
class Design:
    """Effects are log ratios to the best; noises are standard deviations of log losses."""

    effects: tuple[float, ...]
    seeds: int
    examples: int = 100
    seed_noise: float = 0.003
    training_noise: float = 0.003
    interaction: float = 0.05
    rest: float = 0.05


def losses(design: Design, sweeps: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Summed losses of shape (sweeps, configurations, seeds, examples) and tokens of shape (sweeps, examples)."""
    shape = (sweeps, len(design.effects), design.seeds, design.examples)
    each, _, seeds, examples = shape
    tokens = rng.integers(5, 300, (each, examples)).astype(float)
    hardness = np.exp(rng.normal(0, 1, (each, examples))) + 0.2
    logs = (
        np.asarray(design.effects)[None, :, None, None]
        + design.seed_noise * rng.normal(size=(each, 1, seeds, 1))
        + design.training_noise * rng.normal(size=(*shape[:3], 1))
        + design.interaction * np.clip(rng.standard_t(3, (*shape[:2], 1, examples)), -6, 6)
        + design.rest * rng.normal(size=shape)
    )
    return (tokens * hardness)[:, None, None, :] * np.exp(logs), tokens


def trial_id(configuration: int, seed: int) -> str:
    return f"r{rank(configuration)}-s{seed}"


def rank(configuration: int) -> int:
    return int(4 * 2**configuration)


def compared(sums: Floats, tokens: Floats, margin: float = 0.005) -> Compared:
    """The comparison that an answer is made of, for one sweep's sums (configurations, seeds, examples)."""
    count, seeds, examples = sums.shape
    names = [[trial_id(k, seed) for seed in range(seeds)] for k in range(count)]
    rows = [[_row(k, seed, sums[k, seed], tokens) for seed in range(seeds)] for k in range(count)]
    groups = [Group(f"r={rank(k)}", tuple(rows[k]), {}) for k in range(count)]
    per_trial = {names[k][seed]: sums[k, seed] for k in range(count) for seed in range(seeds)}
    measured = Measured(
        "eval_loss",
        {name: float(total.sum() / tokens.sum()) for name, total in per_trial.items()},
        Examples(per_trial, dict.fromkeys(per_trial, tokens), examples),
        (),
    )
    found = compare(groups, measured, margin, CONFIDENCE)
    assert found
    return found


def _row(configuration: int, seed: int, sums: Floats, tokens: Floats) -> dict[str, Any]:
    loss = float(sums.sum() / tokens.sum())
    lora_r = rank(configuration)
    return {
        "trial_id": trial_id(configuration, seed),
        "status": "completed",
        "attempts": 1,
        "method": "lora",
        "lora_r": lora_r,
        "lora_alpha": 2.0 * lora_r,
        "seed": seed,
        "train_loss": loss * 0.95,
        "eval_loss": loss,
        "train_runtime": 100.0 + 5 * configuration,
        "train_samples_per_second": 20.0 - configuration,
        "train_steps_per_second": 2.5 - 0.1 * configuration,
        "trainable_parameters": 1000 * lora_r,
        "steps": 60,
        "tokens": 10_000,
        "peak_memory_allocated_bytes": 3_000_000_000 + 100_000_000 * configuration,
        "settings": json.dumps({"learning_rate": 0.0002, "seed": seed}),
    }


def write(store: Store, sums: Floats, tokens: Floats) -> None:
    """One sweep's sums (configurations, seeds, examples) as a finished sweep's files."""
    rows = [_row(k, seed, sums[k, seed], tokens) for k in range(sums.shape[0]) for seed in range(sums.shape[1])]
    planned = [{key: row[key] for key in ("trial_id", "method", "lora_r", "lora_alpha", "seed")} for row in rows]
    store.write_sweep({"trials": planned, "axes": {}, "base": {}, "provenance": {"versions": {"torch": "2"}}})
    for row, total in zip(rows, sums.reshape(-1, sums.shape[-1]), strict=True):
        store.write_evals(row["trial_id"], _evals(row["trial_id"], total, tokens))
        store.write_trial(row, {})


def _evals(name: str, sums: Sequence[float] | Floats, tokens: Floats) -> list[dict[str, Any]]:
    return [
        {"trial_id": name, "example_id": index, "loss_sum": float(total), "tokens": int(count), "bytes": 3 * int(count)}
        for index, (total, count) in enumerate(zip(sums, tokens, strict=True))
    ]


def write_steps(store: Store, name: str, losses: Sequence[float], spike_at: int | None = None) -> None:
    """A trial's step rows, with one memory peak if asked for."""
    rows = [
        {
            "trial_id": name,
            "attempt": 1,
            "step": step,
            "epoch": step / len(losses),
            "loss": loss,
            "learning_rate": 2e-4,
            "grad_norm": 1.0,
            "step_time_s": 0.1,
            "tokens": 500,
            "memory_allocated_bytes": 5_000_000_000 if step == spike_at else 2_000_000_000,
            "peak_memory_allocated_bytes": 3_000_000_000,
            "peak_memory_reserved_bytes": 3_500_000_000,
            "peak_rss_bytes": 1_000_000_000,
        }
        for step, loss in enumerate(losses, start=1)
    ]
    store.write_step_part(name, 1, 0, rows)
    store.merge_steps(name)
