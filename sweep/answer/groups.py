"""Groups trials into configurations: trials that differ only in their seed."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.common.column import Column
from sweep.errors import SweepError
from sweep.store.columns import METRICS
from sweep.store.store import Row

RATE = "learning_rate"
SWEEP = "sweep"  # the axis that distinguishes several sweeps; part of every label


@dataclass(frozen=True)
class Group:
    """One configuration's trials, whatever their status."""

    label: str
    rows: tuple[Row, ...]
    axes: Mapping[str, Any]

    @property
    def completed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row["status"] == "completed")

    @property
    def method(self) -> str:
        return method_of(self.rows[0])

    def values(self, name: str) -> list[float]:
        """A column's known values: of the completed trials, or of all if it is known before trials run."""
        column = METRICS.get(name)
        rows = self.rows if column is not None and column.shown_as.foreseen else self.completed
        return [float(row[name]) for row in rows if row.get(name) is not None]

    def result(self, name: str) -> float | None:
        """A metric of the configuration: the mean or maximum over its trials, as its column says; None if not measured."""
        return over_seeds(METRICS[name], self.values(name))


def over_seeds(column: Column, values: Sequence[float]) -> float | None:
    if column.shown_as.over_seeds == "largest":
        return max(values, default=None)
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None with fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def method_of(row: Mapping[str, Any]) -> str:
    return str(row.get("method") or ("full" if row.get("lora_r") is None else "lora"))


def group(rows: Sequence[Row], axes: Sequence[str], tuned: str | None = None) -> list[Group]:
    """Configurations in order of rank, full fine-tuning last.

    Args:
        tuned: a setting whose value every label ends with.

    Raises:
        SweepError: two completed trials have the same settings and seed, so nothing tells them apart.
    """
    members: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        members.setdefault(_key(row, axes), []).append(row)
    names = _labels(list(members), axes, tuned)
    groups = [
        Group(names[key], tuple(sorted(members[key], key=_by_seed)), dict(zip(axes, key[3:], strict=True)))
        for key in sorted(members, key=_order)
    ]
    for one in groups:
        seeds = [row.get("seed") for row in one.completed]
        if len(set(seeds)) < len(seeds):
            ids = ", ".join(row["trial_id"] for row in one.completed)
            raise SweepError(
                f"{ids}: these trials have the same settings and seed ({one.label}, seed {seeds[0]}), so nothing tells "
                "them apart. Give each its own seed, or a column for what differs."
            )
    return groups


def _key(row: Row, axes: Sequence[str]) -> tuple[Any, ...]:
    return (method_of(row), row.get("lora_r"), row.get("lora_alpha"), *(row.get(axis) for axis in axes))


def _by_seed(row: Row) -> tuple[bool, int, str]:
    seed = row.get("seed")
    return seed is None, seed or 0, str(row["trial_id"])


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    method, rank, alpha, *further = key
    return method == "full", rank or 0, alpha or 0.0, [(str(type(value)), _sortable(value)) for value in further]


def _sortable(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)


def _labels(keys: Sequence[tuple[Any, ...]], axes: Sequence[str], tuned: str | None) -> dict[tuple[Any, ...], str]:
    """A short name for each: the rank, and whatever else distinguishes it from the others."""
    alphas: dict[Any, set[Any]] = {}
    for key in keys:
        alphas.setdefault(key[:2], set()).add(key[2])
    varied = {axis for index, axis in enumerate(axes) if len({key[3 + index] for key in keys}) > 1}
    labels = {}
    for key in keys:
        parts = ["full" if key[0] == "full" else f"r={key[1]}"]
        values = {"lora_alpha": key[2], **dict(zip(axes, key[3:], strict=True))}
        if len(alphas[key[:2]]) > 1 and tuned != "lora_alpha":
            parts.append(f"alpha={text_of(key[2])}")
        parts += [
            f"{axis}={text_of(values[axis])}" for axis in axes if (axis in varied or axis == SWEEP) and axis != tuned
        ]
        if tuned and values[tuned] is not None:
            parts.append(f"{tuned}={text_of(values[tuned])}")
        labels[key] = " ".join(parts)
    return labels


def text_of(value: Any) -> str:
    """A value as a person would write it: 0.5, 4, false, default for null."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def parsed(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """A JSON column's object; empty if it is null or not an object."""
    text = row.get(column)
    try:
        content = json.loads(text) if text else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def usable(value: float | None) -> bool:
    """Whether a loss can be compared by ratio."""
    return value is not None and math.isfinite(value) and value > 0
