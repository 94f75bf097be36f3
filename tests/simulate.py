"""Sweeps with a known truth: losses as arrays, and the same through the store in the real schema.

An example's summed loss is tokens × hardness × exp(effect of the configuration + noises). Hardness has a heavy tail and
is the same for every seed and configuration. The noises are of the seed (shared by all configurations: data order), of
the training run, of the configuration on the example (kept by every seed: what pairing by seed cannot see) and a rest.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweep.answer.advice import suggestions
from sweep.answer.answer import Suggestion
from sweep.answer.compare import UNEVEN, Compared, compare
from sweep.answer.costs import Cost
from sweep.answer.groups import Group
from sweep.answer.measured import Measured, far_off
from sweep.answer.recommend import choose
from sweep.statistics import noise, stats
from sweep.statistics.examples import Examples, Shared, shared
from sweep.statistics.stats import CONFIDENCE, MIN_SEEDS, AboveBest, Difference, Floats
from sweep.store.loading import Sweep
from sweep.store.store import Store


@dataclass(frozen=True)
class Design:
    """Effects are log ratios to the best; noises are standard deviations of log losses.

    Attributes:
        spreads: factors to the training noise, one for each configuration.
        heavy: training noise is Student's t with 3 degrees of freedom, of the same standard deviation.
        cluster: how many examples share one draw of hardness and of the configuration's noise on it.
        giant: one example has half of the loss.
    """

    effects: tuple[float, ...]
    seeds: int
    examples: int = 100
    seed_noise: float = 0.003
    training_noise: float = 0.003
    interaction: float = 0.05
    rest: float = 0.05
    spreads: tuple[float, ...] = ()
    heavy: bool = False
    cluster: int = 1
    giant: bool = False


def losses(design: Design, sweeps: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Summed losses of shape (sweeps, configurations, seeds, examples) and tokens of shape (sweeps, examples)."""
    shape = (sweeps, len(design.effects), design.seeds, design.examples)
    each, _, seeds, examples = shape
    drawn = -(-examples // design.cluster)
    tokens = rng.integers(5, 300, (each, examples)).astype(float)
    hardness = _repeated(np.exp(rng.normal(0, 1, (each, drawn))) + 0.2, design)
    if design.giant:
        hardness[:, 0] = (tokens * hardness)[:, 1:].sum(axis=-1) / tokens[:, 0]
    trained = rng.standard_t(3, (*shape[:3], 1)) / np.sqrt(3) if design.heavy else rng.normal(size=(*shape[:3], 1))
    logs = design.rest * rng.standard_normal(shape)
    logs += design.interaction * _repeated(np.clip(rng.standard_t(3, (*shape[:2], 1, drawn)), -6, 6), design)
    logs += design.seed_noise * rng.normal(size=(each, 1, seeds, 1))
    logs += design.training_noise * np.array(design.spreads or (1.0,) * shape[1])[:, None, None] * trained
    logs += np.asarray(design.effects)[:, None, None]
    return (tokens * hardness)[:, None, None, :] * np.exp(logs, out=logs), tokens


def _repeated(drawn: Floats, design: Design) -> Floats:
    return drawn if design.cluster == 1 else np.repeat(drawn, design.cluster, axis=-1)[..., : design.examples]


@dataclass(frozen=True)
class Bounds:
    """What many sweeps claim, at once; `compared` gives the same for one (a test holds them against each other)."""

    above: AboveBest
    uneven: npt.NDArray[np.bool_]

    def different(self) -> npt.NDArray[np.bool_]:
        """Pairs (sweeps, K, K) of which one is claimed to be worse."""
        found: npt.NDArray[np.bool_] = self.above.different() & ~self.uneven[:, None, None]
        return found

    def decided(self, margin: float) -> npt.NDArray[np.bool_]:
        """Configurations (sweeps, K) shown to be within the margin."""
        found: npt.NDArray[np.bool_] = self.above.within(margin) & ~self.uneven[:, None]
        return found


@dataclass(frozen=True)
class Estimates:
    """What the sums of many sweeps say of each pair, whatever the configurations' effects: those only move the ratios."""

    pairs: Mapping[tuple[int, int], Difference]
    uneven: npt.NDArray[np.bool_]
    count: int

    @classmethod
    def of(cls, sums: Floats, tokens: Floats, present: noise.Mask | None = None) -> "Estimates":
        """From sums of shape (sweeps, configurations, seeds, units), and which runs there are (configurations, seeds)."""
        logs = np.log(sums.sum(axis=-1) / tokens.sum(axis=-1)[:, None, None])
        present = np.ones(logs.shape[1:], dtype=bool) if present is None else present
        examples = noise.Examples(sums, tokens[:, None, None, :])
        pairs = {(k, j): found for k, j, found in noise.differences(logs, present, examples, MIN_SEEDS)}
        by_seed = any(len(one.terms) > 1 for one in pairs.values())
        uneven = np.asarray(noise.uneven(logs, present, UNEVEN)[0].any(axis=-1))
        return cls(pairs, uneven & np.full(uneven.shape, by_seed), logs.shape[1])

    def bounds(self, effects: Sequence[float] = (), confidence: float = CONFIDENCE) -> Bounds:
        """With these log ratios added to the configurations' losses."""
        shift = effects or (0.0,) * self.count
        moved = {
            (k, j): replace(one, log_ratio=one.log_ratio + shift[k] - shift[j]) for (k, j), one in self.pairs.items()
        }
        return Bounds(stats.above_best(moved, self.count, confidence), self.uneven)


def bounds(sums: Floats, tokens: Floats, present: noise.Mask | None = None) -> Bounds:
    """The bounds of many sweeps."""
    return Estimates.of(sums, tokens, present).bounds()


def simulated(design: Design, sweeps: int, rng: np.random.Generator, *effects: tuple[float, ...]) -> list[Bounds]:
    """Bounds of so many sweeps for each of several truths, from the same noise.

    In pieces of a few million losses, which fit the processor's cache better.
    """
    design = replace(design, effects=(0.0,) * len(effects[0]))
    most = max(1, int(3e6 / (len(design.effects) * design.seeds * design.examples)))
    pieces = []
    for start in range(0, sweeps, most):
        found = Estimates.of(*losses(design, min(most, sweeps - start), rng))
        pieces.append([found.bounds(one) for one in effects])
    return [_joined([piece[place] for piece in pieces]) for place in range(len(effects))]


def _joined(pieces: Sequence[Bounds]) -> Bounds:
    parts = [np.concatenate([getattr(one.above, name) for one in pieces]) for name in ("lower", "upper", "pair_lower")]
    return Bounds(AboveBest(*parts), np.concatenate([one.uneven for one in pieces]))


def trial_id(configuration: int, seed: int) -> str:
    return f"r{rank(configuration)}-s{seed}"


def rank(configuration: int) -> int:
    return int(4 * 2**configuration)


def compared(
    sums: Floats,
    tokens: Floats,
    margin: float = 0.005,
    diverged: npt.NDArray[np.bool_] | None = None,
    columns: Mapping[str, Any] | None = MappingProxyType({}),
) -> Compared:
    """The comparison that an answer is made of, for one sweep's sums (configurations, seeds, examples).

    Args:
        diverged: which runs (configurations, seeds) ended without a finite loss.
        columns: further columns of the held-out examples, one value for each; None where there are no examples.
    """
    count, seeds, _ = sums.shape
    rows = [[_row(k, seed, sums[k, seed], tokens) for seed in range(seeds)] for k in range(count)]
    for k, seed in np.argwhere(diverged) if diverged is not None else ():
        rows[k][seed]["status"] = "diverged"
    groups = [Group(f"r={rank(k)}", tuple(rows[k]), {}) for k in range(count)]
    found = {row["trial_id"]: row["eval_loss"] for one in groups for row in one.completed}
    bad = far_off(groups, found)
    kept = {name: loss for name, loss in found.items() if name not in bad}
    held_out = _held_out(sums, tokens, kept, columns)
    result = compare(groups, Measured("eval_loss", held_out.losses, held_out.examples, (), bad), margin, CONFIDENCE)
    assert result
    return result


def _held_out(sums: Floats, tokens: Floats, losses: Mapping[str, float], columns: Mapping[str, Any] | None) -> Shared:
    """The examples as arrays, or where they are not all alike through the frame that a sweep's files give."""
    if columns is None:
        return Shared(losses)
    per_trial = {trial_id(k, seed): sums[k, seed] for k in range(len(sums)) for seed in range(sums.shape[1])}
    if not columns:
        return Shared(losses, Examples(per_trial, dict.fromkeys(per_trial, tokens), len(tokens)))
    count, names = len(tokens), list(losses)
    shared_columns = {"example_id": np.arange(count), "tokens": tokens, "content_hash": None, "group": None, **columns}
    frame = pd.DataFrame(
        {name: _tiled(values, len(names)) for name, values in shared_columns.items()}, index=range(len(names) * count)
    )
    frame["trial_id"] = np.repeat(names, count)
    frame["loss_sum"] = np.concatenate([per_trial[name] for name in names])
    sweep = Sweep("simulated")
    sweep.__dict__["evals"] = frame
    return shared(sweep, losses, "tokens")


def _tiled(values: Any, times: int) -> Any:
    return values if values is None else np.tile(values, times)


def costs(ranks: int) -> list[dict[str, Cost]]:
    """Of ranks of which each costs more than the one before."""
    return [{"memory": Cost(1.0 + rank, tolerance=0.01)} for rank in range(ranks)]


def advised(found: Compared) -> Suggestion:
    """What an undecided sweep is told to run."""
    ranks = costs(len(found.groups))
    pick = choose(found, ranks, ("memory",))
    return suggestions(found, ranks, ("memory",), pick, CONFIDENCE)[0]


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
