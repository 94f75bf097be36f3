"""Reads and writes a sweep's files, rows as Parquet, on any `pyarrow.fs` location.

    <storage_path>/<name>/
        sweep.json                    base configuration, axes, provenance
        trials/<trial_id>.parquet     one row: how the trial ended
        steps/<trial_id>/*.parquet    a row per optimizer step
        evals/<trial_id>.parquet      a row per held-out example
        scores/<trial_id>.parquet     a row per example of what else is scored
        baselines/<key>.parquet       what all trials of a base model share: its rows of a further held-out set
        decisions/decisions.parquet   a row per decision on what to train next
        logs/<trial_id>.log           what the trial's process printed
        checkpoints/<trial_id>/       its newest checkpoint, finally the trained adapter or model (see checkpoints.py)
        tune/                         Ray Tune's own files: its state and its result log

A trial's row is written last, so a trial with a row is done.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep import redact
from sweep.common.column import Column, schema
from sweep.common.formatting import in_one_line, reason
from sweep.errors import NewerSchema, NotASweep, StoreError
from sweep.store import parquet
from sweep.store.columns import DECISIONS, EVALS, SCHEMA_VERSION, SCORES, STEPS, TRIALS
from sweep.store.location import Location
from sweep.store.sweep_json import parse_sweep_json

Row = dict[str, Any]
log = logging.getLogger(__name__)
_MERGED = "steps.parquet"
_DECISIONS = "decisions/decisions.parquet"
_PART = re.compile(r"part-(\d+)-(\d+)\.parquet$")


@dataclass(frozen=True)
class Store(Location):
    """A sweep's folder: its rows, its sweep.json and its logs."""

    # --- sweep.json ------------------------------------------------------------------------------------------------

    def write_sweep(self, content: dict[str, Any]) -> None:
        """Writes sweep.json, with the schema version added."""
        plain = redact.value(content)
        if isinstance(tune := content.get("tune"), Mapping) and "key" in tune:
            plain["tune"]["key"] = redact.text(tune["key"])  # a setting's name, where elsewhere a key is a secret
        text = json.dumps({"schema_version": SCHEMA_VERSION, **plain}, indent=2, ensure_ascii=False)
        self.write_bytes("sweep.json", text.encode())

    def read_sweep(self) -> dict[str, Any]:
        """The content of sweep.json.

        Raises:
            NotASweep: there is none, or it was not written by this project.
            NewerSchema: a later version of this project wrote it.
            StoreError: it cannot be read.
        """
        try:
            data = self.read_bytes("sweep.json") if self.exists("sweep.json") else None
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self.uri('sweep.json')} cannot be read: {reason(error)}. Fix that, or name another sweep."
            ) from error
        if data is None:
            raise NotASweep(
                f"{self.location!r} holds no sweep: there is no sweep.json. "
                "Give the folder that `python -m sweep.grid` named, e.g. results/demo."
            )
        content, wrong = parse_sweep_json(data)
        if wrong:
            raise NotASweep(
                f"{self.uri('sweep.json')} was not written by this project: {wrong}. Restore it, or start over with another --name."
            )
        version = content["schema_version"]
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise NewerSchema(
                f"{self.location!r} has schema version {version}; this installation reads up to {SCHEMA_VERSION}. "
                "Upgrade it."
            )
        return content

    # --- rows ------------------------------------------------------------------------------------------------------

    def _write_rows(
        self, name: str, columns: tuple[Column, ...], rows: Sequence[Row], extra: Row | None = None
    ) -> None:
        into = schema(columns, extra)
        unknown = {key for row in rows for key in row} - set(into.names)
        if unknown:
            raise StoreError(
                f"{name}: unrecognized columns: {', '.join(sorted(unknown))}. Columns are defined in sweep/store/columns.py."
            )
        buffer = BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=into), buffer, compression="zstd")
        self.write_bytes(name, buffer.getvalue())

    def write_trial(self, row: Row, axes: Row) -> None:
        """Writes a trial's row: `row` has columns of TRIALS, `axes` the values of the grid's further axes."""
        self._write_rows(f"trials/{row['trial_id']}.parquet", TRIALS, [redact.value({**row, **axes})], axes)

    def trial(self, trial_id: str) -> Row | None:
        """A trial's row, axes included; None if it has none."""
        names = [name for name in [f"trials/{trial_id}.parquet"] if self.exists(name)]
        rows: list[Row] = self._read(names, TRIALS).to_pylist()
        return rows[0] if rows else None

    def remove_trial(self, trial_id: str) -> None:
        """Removes a trial's row, if any: the trial is about to run again."""
        self.fence()
        self.remove(f"trials/{trial_id}.parquet")

    def write_evals(self, trial_id: str, rows: Sequence[Row]) -> None:
        self._write_rows(f"evals/{trial_id}.parquet", EVALS, rows)

    def write_scores(self, trial_id: str, rows: Sequence[Row]) -> None:
        named = [{**row, "dataset": row.get("dataset") and redact.text(row["dataset"])} for row in rows]
        self._write_rows(f"scores/{trial_id}.parquet", SCORES, named)

    def write_baseline(self, key: str, rows: Sequence[Row]) -> None:
        """Keeps a base model's rows of a further held-out set, with columns of EVALS."""
        self._write_rows(f"baselines/{key}.parquet", EVALS, rows)

    def baseline(self, key: str) -> list[Row] | None:
        """The rows kept under a key; None if there are none, or none that can be read."""
        name = f"baselines/{key}.parquet"
        try:
            return list(self._read([name], EVALS).to_pylist()) if self.exists(name) else None
        except (OSError, pa.ArrowException):
            return None

    def write_log(self, trial_id: str, text: str) -> str:
        """Writes a trial's log; returns its name relative to the sweep."""
        name = self.log_name(trial_id)
        self.write_bytes(name, redact.text(text).encode(errors="replace"))
        return name

    @staticmethod
    def log_name(trial_id: str) -> str:
        return f"logs/{trial_id}.log"

    def read_log(self, trial_id: str) -> str:
        """A trial's log so far; empty if there is none."""
        try:
            return self.read_bytes(self.log_name(trial_id)).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def write_step_part(self, trial_id: str, attempt: int, sequence: int, rows: Sequence[Row]) -> None:
        """Writes the next rows of a running trial. An attempt's part 0 is empty: it marks that the attempt started."""
        self._write_rows(f"steps/{trial_id}/part-{attempt}-{sequence:06d}.parquet", STEPS, rows)

    def attempts(self, trial_id: str) -> int:
        """How many times the trial was started, according to its files."""
        names = self.names(f"steps/{trial_id}", ".parquet")
        begun = [int(match.group(1)) for name in names if (match := _PART.search(name))]
        if f"steps/{trial_id}/{_MERGED}" in names:
            _, merged = self._step_files([f"steps/{trial_id}/{_MERGED}"])
            begun += [attempt for table in merged for attempt in table.column("attempt").to_pylist()]
        if self.exists(f"trials/{trial_id}.parquet"):
            begun += self._read([f"trials/{trial_id}.parquet"], TRIALS).column("attempts").to_pylist()
        return max(begun, default=0)

    def merge_steps(self, trial_id: str) -> int:
        """Merges a trial's parts into one file, each step once and in order; returns how many. Truncated parts are set aside."""
        files = self.names(f"steps/{trial_id}", "")
        names = [name for name in files if name.endswith(".parquet")]
        whole, tables = self._step_files(names)
        table = parquet.newest_attempt(parquet.joined(tables, schema(STEPS)))
        for name in set(names) - set(whole):
            self.rename(name, f"{name}.cut-off")
        self.write_bytes(f"steps/{trial_id}/{_MERGED}", parquet.curve_bytes(table))
        for name in files:
            if (name in whole and _PART.search(name)) or name.endswith(
                ".parquet.tmp"
            ):  # of a process killed as it wrote
                self.remove(name)
        return int(table.num_rows)

    # --- decisions -------------------------------------------------------------------------------------------------

    def write_decisions(self, rows: Sequence[Row]) -> None:
        """Writes all decisions that there are so far, over those that were."""
        self._write_rows(_DECISIONS, DECISIONS, rows)

    def decisions(self) -> pa.Table:
        """The decisions in their order; empty where none was written yet."""
        return self._read([_DECISIONS] if self.exists(_DECISIONS) else [], DECISIONS)

    # --- Ray Tune's files ------------------------------------------------------------------------------------------

    def scrub(self) -> None:
        """Redacts secrets and the home directory in the files that Ray Tune wrote; their lengths stay the same."""
        ours = ("result.json", "params.json", "params.pkl")  # made from rows and axes, which contain none
        for name in [name for suffix in (".pkl", ".json", ".txt") for name in self.names("tune", suffix)]:
            if "/checkpoint" not in name and not name.endswith(ours):
                data = self.read_bytes(name)
                clean = redact.in_place(data)
                if clean != data:
                    self.write_bytes(name, clean)

    # --- tables ----------------------------------------------------------------------------------------------------

    def trial_names(self) -> set[str]:
        """The ids of the trials that have a row."""
        return {Path(name).stem for name in self.names("trials", ".parquet")}

    def trials(self) -> pa.Table:
        """A row per ended trial: the columns of TRIALS, then the grid's further axes."""
        return self._read(self.names("trials", ".parquet"), TRIALS)

    def steps(self, trial_id: str | None = None) -> pa.Table:
        """Step rows of one trial or of all, by trial and step, each step once (the last attempt's)."""
        folder = f"steps/{trial_id}" if trial_id else "steps"
        return parquet.curves(*self._step_files(self.names(folder, ".parquet")), _MERGED, schema(STEPS))

    def evals(self) -> pa.Table:
        return self._read(self.names("evals", ".parquet"), EVALS)

    def scores(self) -> pa.Table:
        return self._read(self.names("scores", ".parquet"), SCORES)

    def _read(self, names: Iterable[str], columns: tuple[Column, ...]) -> pa.Table:
        """All rows of some files in one table. Unknown columns are kept; missing ones are null."""
        return parquet.joined(self._files(names), schema(columns))

    def _step_files(self, names: Sequence[str]) -> tuple[Sequence[str], list[pa.Table]]:
        """Files of step rows, and their tables. Files that were cut off mid-write are skipped, with a warning."""
        try:
            return names, self._files(names)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException):
            cut_off = [name for name in names if self._is_cut_off(name)]
            if not cut_off:
                raise
        log.warning("Skipped files that were cut off mid-write: %s", ", ".join(map(self.uri, cut_off)))
        whole = [name for name in names if name not in cut_off]
        return whole, self._files(whole)

    def _is_cut_off(self, name: str) -> bool:
        """Whether a Parquet file lacks its first or last bytes."""
        fs, root = self.where
        with fs.open_input_file(f"{root}/{name}") as file:
            size = file.size()
            ends = [file.read_at(4, 0), file.read_at(4, size - 4)] if size >= 12 else []
        return ends != [b"PAR1", b"PAR1"]

    def _files(self, names: Iterable[str]) -> list[pa.Table]:
        fs, root = self.where
        return parquet.read(fs, [f"{root}/{name}" for name in names])


def unreadable(location: str, error: Exception) -> StoreError:
    """The error for a sweep with an unreadable file."""
    return StoreError(
        f"{location!r}: a file cannot be read: {in_one_line(str(error))}. "
        "Delete the broken file, then run the sweep's command again: it repeats that file's trial."
    )
