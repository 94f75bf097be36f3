"""Several sweeps as one, with the sweep as an additional axis: another model, another data set, another day."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweep import redact
from sweep.answer.groups import SWEEP, parsed
from sweep.answer.tuned import tuned_setting
from sweep.common.formatting import listed
from sweep.errors import SweepError
from sweep.space import is_scalar
from sweep.store.loading import Sweep
from sweep.store.store import Row

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Merged(Sweep):
    """The rows of several sweeps. Trial ids are prefixed with the sweep's name, since two sweeps may share a trial."""

    parts: Mapping[str, Sweep] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ", ".join(self.parts)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The parts of sweep.json that the answer reads."""
        configs = {name: part.config for name, part in self.parts.items()}
        units = [one["loss_unit"] for one in configs.values() if "loss_unit" in one]  # all the same
        key = next((key for part in self.parts.values() if (key := tuned_setting(part))), None)
        return {
            "axes": {axis: [] for part in self.parts.values() for axis in part.varied},
            "provenance": {name: one.get("provenance") for name, one in configs.items()},
            **({"loss_unit": units[0]} if units else {}),
            **({"tune": {"key": key}} if key else {}),
        }

    def config_of(self, row: Row) -> Mapping[str, Any]:
        return self.parts[row[SWEEP]].config

    @cached_property
    def axes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([SWEEP, *(axis for part in self.parts.values() for axis in part.axes)]))

    def records(self) -> list[Row]:
        return [row for name, part in self.parts.items() for row in self._rows(name, part.records())]

    @cached_property
    def not_started(self) -> tuple[Row, ...]:
        return tuple(row for name, part in self.parts.items() for row in self._rows(name, part.not_started))

    def _rows(self, name: str, rows: Sequence[Row]) -> Iterator[Row]:
        """A setting that only another sweep varies is an axis here too, with this sweep's value."""
        for row in rows:
            settings = parsed(row, "settings")
            axes = {axis: row[axis] if axis in row else _column(settings.get(axis)) for axis in self.axes}
            yield {**row, **axes, "trial_id": _named(name, row["trial_id"]), SWEEP: name}

    @cached_property
    def trials(self) -> "pd.DataFrame":
        return self._joined("trials")

    @cached_property
    def steps(self) -> "pd.DataFrame":
        return self._joined("steps")

    @cached_property
    def evals(self) -> "pd.DataFrame":
        return self._joined("evals")

    @cached_property
    def scores(self) -> "pd.DataFrame":
        return self._joined("scores")

    def _joined(self, table: str) -> "pd.DataFrame":
        import pandas as pd

        frames = []
        for name, part in self.parts.items():
            frame: pd.DataFrame = getattr(part, table)
            frames.append(frame.assign(trial_id=[_named(name, one) for one in frame["trial_id"]]))
        return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def merge(parts: Mapping[str, Sweep]) -> Merged:
    return Merged(", ".join(part.location for part in parts.values()), parts=parts)


def named(sweeps: Sequence[Sweep]) -> dict[str, Sweep]:
    """The sweeps by name: the last folder of each location, or as many folders as tell them apart.

    Raises:
        SweepError: a location is given twice, or two sweeps tuned different settings.
    """
    places = [redact.urls(one.location).rstrip("/").split("/") for one in sweeps]
    for depth in range(1, max(map(len, places)) + 1):
        names = ["/".join(place[-depth:]) for place in places]
        if len(set(names)) == len(names):
            break
    else:
        twice = next(name for name in names if names.count(name) > 1)
        raise SweepError(f"{twice} is named twice: give each sweep once.")
    found = dict(zip(names, sweeps, strict=True))
    keys = {key: name for name, one in found.items() if (key := tuned_setting(one))}
    if len(keys) > 1:
        choices = listed([f"{name} tuned {key}" for key, name in keys.items()])
        raise SweepError(f"{choices}: a rank's best value is of one setting. Compare sweeps that tuned the same one.")
    return found


def _named(name: str, trial_id: str) -> str:
    return f"{name}/{trial_id}"


def _column(value: Any) -> Any:
    """A setting's value as it appears in an axis column."""
    return value if is_scalar(value) else json.dumps(value)
