"""Owns every path of a sweep: Parquet rows in, tables out, on any `pyarrow.fs` location.

    <storage_path>/<name>/
        sweep.json                    base configuration, axes, provenance
        trials/<trial_id>.parquet     one row: how the trial ended
        steps/<trial_id>/*.parquet    a row per optimizer step
        evals/<trial_id>.parquet      a row per held-out example
        logs/<trial_id>.log           what the trial's process printed
        tune/                         what Ray Tune keeps: checkpoints, its own result log

A file is complete or absent: it is written aside and moved into place, or put in one piece where the store is an object
store. A trial's row is written last, so a trial with a row is done.
"""

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweep import redact
from sweep.common.formatting import in_one_line, reason
from sweep.errors import LockLost, NewerSchema, NotASweep, StoreError
from sweep.store import parquet
from sweep.store.checkpoints import SEAL, Checkpoint, is_whole
from sweep.store.columns import EVALS, SCHEMA_VERSION, STEPS, TRIALS, Column, schema
from sweep.store.sweep_json import sweep_content

Row = dict[str, Any]
log = logging.getLogger(__name__)
_OBJECT_STORES = {"s3", "gcs", "abfs"}
_RETRY_LIMIT_S = 10  # a request that failed for so long is an error; the spool and the next start try it again
_MERGED = "steps.parquet"
LOCK = "lock.json"
_CHECKPOINT = re.compile(r"/checkpoint_(\d+)$")
_PART = re.compile(r"part-(\d+)-(\d+)\.parquet$")


def filesystem(location: str) -> tuple[pafs.FileSystem, str]:
    """The file system and path of a URI, or of a local path (relative ones from the current directory).

    Raises:
        StoreError: the URI names no file system that pyarrow has.
    """
    if "://" not in location:
        return pafs.LocalFileSystem(), _local_path(location)
    try:
        fs, path = pafs.FileSystem.from_uri(_limited(location))
        if not path.strip("/"):
            raise ValueError("it names no bucket and no folder")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_place(location, error) from error
    return fs, path


def _limited(location: str) -> str:
    """The URI with a limit on how long a request is tried again: Google's client would try for a quarter of an hour."""
    if not location.startswith(("gs://", "gcs://")):
        return location
    return f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={_RETRY_LIMIT_S}"


def _local_path(location: str) -> str:
    try:
        path = str(Path(location).expanduser().absolute())
        if "\0" in path:
            raise ValueError("it holds a NUL")
    except (RuntimeError, ValueError) as error:
        raise _no_place(location, error) from error
    return path


def _no_place(location: str, error: Exception) -> StoreError:
    shown = redact.urls(location)
    why = redact.urls(reason(error)).removesuffix(f": {shown}").removesuffix(f": {shown!r}")
    return StoreError(
        f"{shown!r} is no place that can be read or written: {why}. Give a path or a URI such as s3://bucket/folder."
    )


@dataclass(frozen=True)
class Store:
    """A sweep's files. Cheap to make, and to send to another process: it holds a location, and whose lock it writes under.

    With a `nonce` each write first looks whether the lock is still its own: a driver that was taken over, and its workers,
    find out before they write.
    """

    location: str
    nonce: str | None = None

    @property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        return filesystem(self.location)

    @property
    def absolute(self) -> str:
        """The location as it is understood from anywhere on this machine."""
        return self.location if "://" in self.location else _local_path(self.location)

    @property
    def local(self) -> Path | None:
        """The sweep's folder, if it is on a local disk."""
        fs, path = self._place
        return Path(path) if isinstance(fs, pafs.LocalFileSystem) else None

    def uri(self, *parts: str) -> str:
        """Location of something inside the sweep, as the user would write it."""
        return "/".join([self.location.rstrip("/"), *parts])

    def fence(self) -> None:
        """Looks whether the lock is still the one that this writes under.

        Raises:
            LockLost: it is another driver's, or gone.
            OSError: it cannot be read.
        """
        if self.nonce is None:
            return
        try:
            holder = json.loads(self.read_bytes(LOCK))
        except FileNotFoundError:
            raise LockLost(f"{self.uri(LOCK)} is gone, so another driver may write there: this one stops.") from None
        except ValueError:  # it is just being made, and not by us: ours was complete
            holder = {}
        if holder.get("nonce") != self.nonce:
            who = f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
            raise LockLost(f"{self.location} was taken over by another driver ({who}): this one stops.")

    # --- bytes -----------------------------------------------------------------------------------------------------

    def write_bytes(self, name: str, data: bytes) -> None:
        """Puts a whole file in place, over what may be there."""
        self.fence()
        fs, root = self._place
        target = f"{root}/{name}"
        fs.create_dir(target.rsplit("/", 1)[0], recursive=True)
        aside = fs.type_name not in _OBJECT_STORES
        path = f"{target}.tmp" if aside else target
        with fs.open_output_stream(path) as stream:
            stream.write(data)
        if aside:
            try:
                fs.move(path, target)
            except OSError:  # a folder is in the way
                fs.delete_file(path)
                raise

    def read_bytes(self, name: str) -> bytes:
        fs, root = self._place
        with fs.open_input_stream(f"{root}/{name}") as stream:
            data: bytes = stream.read()
        return data

    def exists(self, name: str) -> bool:
        fs, root = self._place
        found: bool = fs.get_file_info(f"{root}/{name}").type != pafs.FileType.NotFound
        return found

    def modified(self, name: str) -> float:
        """When a file was last written, in seconds since the epoch; 0 if there is none."""
        fs, root = self._place
        when = fs.get_file_info(f"{root}/{name}").mtime
        return float(when.timestamp()) if when else 0.0

    def remove(self, name: str) -> None:
        """Takes a file away, if it is there."""
        fs, root = self._place
        if self.exists(name):
            fs.delete_file(f"{root}/{name}")

    def _names(self, folder: str, suffix: str) -> list[str]:
        """Files below a folder of the sweep, relative to the sweep, sorted."""
        fs, root = self._place
        infos = fs.get_file_info(pafs.FileSelector(f"{root}/{folder}", allow_not_found=True, recursive=True))
        return sorted(
            info.path[len(root) + 1 :]
            for info in infos
            if info.type == pafs.FileType.File and info.path.endswith(suffix)
        )

    # --- sweep.json ------------------------------------------------------------------------------------------------

    def write_sweep(self, content: dict[str, Any]) -> None:
        """Writes sweep.json, with the schema version put in."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **redact.value(content)}, indent=2, ensure_ascii=False)
        self.write_bytes("sweep.json", text.encode())

    def read_sweep(self) -> dict[str, Any]:
        """The content of sweep.json.

        Raises:
            NotASweep: there is none, or it is not as we write it.
            NewerSchema: a later version of this project wrote it.
            StoreError: it cannot be read.
        """
        try:
            data = self.read_bytes("sweep.json") if self.exists("sweep.json") else None
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self.uri('sweep.json')} cannot be read: {reason(error)}. Mend that, or name another sweep."
            ) from error
        if data is None:
            raise NotASweep(
                f"{self.location!r} holds no sweep: there is no sweep.json. "
                "Give the folder that `python -m sweep.grid` named, e.g. results/demo."
            )
        content, wrong = sweep_content(data)
        if wrong:
            raise NotASweep(
                f"{self.uri('sweep.json')} is not one of ours: {wrong}. Restore it, or start anew with --name."
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
                f"{name}: no such column as {', '.join(sorted(unknown))}. Columns are defined in sweep/store/columns.py."
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
        """Takes a trial's row away, if any: it is about to run again."""
        self.fence()
        self.remove(f"trials/{trial_id}.parquet")

    def write_evals(self, trial_id: str, rows: Sequence[Row]) -> None:
        self._write_rows(f"evals/{trial_id}.parquet", EVALS, rows)

    def write_log(self, trial_id: str, text: str) -> str:
        """Keeps a worker's log; returns its name relative to the sweep."""
        name = self.log_name(trial_id)
        self.write_bytes(name, redact.text(text).encode(errors="replace"))
        return name

    @staticmethod
    def log_name(trial_id: str) -> str:
        return f"logs/{trial_id}.log"

    def read_log(self, trial_id: str) -> str:
        """The log that a trial has so far; empty if none."""
        try:
            return self.read_bytes(self.log_name(trial_id)).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def write_step_part(self, trial_id: str, attempt: int, sequence: int, rows: Sequence[Row]) -> None:
        """Writes the next rows of a running trial. An attempt's part 0 may be empty: it says that the attempt began."""
        self._write_rows(f"steps/{trial_id}/part-{attempt}-{sequence:06d}.parquet", STEPS, rows)

    def attempts(self, trial_id: str) -> int:
        """How often the trial was begun, as far as its files tell; 0 if never."""
        names = self._names(f"steps/{trial_id}", ".parquet")
        begun = [int(match.group(1)) for name in names if (match := _PART.search(name))]
        if f"steps/{trial_id}/{_MERGED}" in names:
            _, merged = self._step_files([f"steps/{trial_id}/{_MERGED}"])
            begun += [attempt for table in merged for attempt in table.column("attempt").to_pylist()]
        if self.exists(f"trials/{trial_id}.parquet"):
            begun += self._read([f"trials/{trial_id}.parquet"], TRIALS).column("attempts").to_pylist()
        return max(begun, default=0)

    def merge_steps(self, trial_id: str) -> int:
        """Turns a trial's parts into one file of steps in order, each once; returns how many. A part cut off is set aside."""
        names = self._names(f"steps/{trial_id}", ".parquet")
        whole, tables = self._step_files(names)
        table = parquet.newest_attempt(parquet.joined(tables, schema(STEPS)))
        for name in set(names) - set(whole):
            self._rename(name, f"{name}.cut-off")
        self.write_bytes(f"steps/{trial_id}/{_MERGED}", parquet.curve_bytes(table))
        for name in whole:
            if _PART.search(name):
                self.remove(name)
        return int(table.num_rows)

    def remove_steps(self, trial_id: str) -> None:
        """Takes all step rows of a trial away."""
        for name in self._names(f"steps/{trial_id}", ".parquet"):
            self.remove(name)

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def newest_checkpoint(self, trial_id: str, micro_batch: int | None = None) -> str | None:
        """The trial's latest whole checkpoint of a micro-batch (see TRIALS), relative to the sweep."""
        return max(self._checkpoints(trial_id, micro_batch), default=(0, None))[1]

    def _checkpoints(self, trial_id: str, micro_batch: int | None) -> list[tuple[int, str]]:
        """(step, name) of each whole checkpoint; Ray Tune keeps them below `tune/<run>/<trial_id>`."""
        found = []
        for run in self._folders("tune"):
            sizes = self._sizes(f"{run}/{trial_id}")
            for name in [name for name in sizes if name.endswith("/" + SEAL)]:
                folder = name.removesuffix("/" + SEAL)
                inside = {
                    key.removeprefix(folder + "/"): size for key, size in sizes.items() if key.startswith(folder + "/")
                }
                content = self._seal(name)
                if content and is_whole(content, inside) and content.get("micro_batch") == micro_batch:
                    found.append((content["step"], folder))
        return found

    def last_checkpoint_number(self, trial_id: str) -> int:
        """The highest number that Ray Tune has given a checkpoint of the trial, whole or not; -1 if none."""
        folders = [name for run in self._folders("tune") for name in self._folders(f"{run}/{trial_id}")]
        return max((int(match.group(1)) for name in folders if (match := _CHECKPOINT.search(name))), default=-1)

    def _seal(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self.read_bytes(name)))
        except (ValueError, OSError):
            return None

    def fetch_checkpoint(self, trial_id: str, into: Path, micro_batch: int | None = None) -> Checkpoint | None:
        """Copies the trial's latest whole checkpoint to a local folder."""
        name = self.newest_checkpoint(trial_id, micro_batch)
        if name is None:
            return None
        fs, root = self._place
        into.mkdir(parents=True, exist_ok=True)
        pafs.copy_files(
            f"{root}/{name}", str(into), source_filesystem=fs, destination_filesystem=pafs.LocalFileSystem()
        )
        content = self._seal(f"{name}/{SEAL}") or {}
        return Checkpoint(into, content["step"], content["outcome"])

    def write_checkpoint(self, trial_id: str, folder: Path) -> None:
        """Copies a sealed folder to where `newest_checkpoint` looks, beside what Ray Tune keeps."""
        self.fence()
        fs, root = self._place
        target = f"{root}/tune/kept/{trial_id}/checkpoint"
        fs.create_dir(target, recursive=True)
        pafs.copy_files(str(folder), target, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=fs)

    def scrub(self) -> None:
        """Takes secrets and the home directory's name out of what Ray Tune wrote of itself; files keep their length."""
        ours = ("result.json", "params.json", "params.pkl")  # made of rows and axes, which have none
        for name in [name for suffix in (".pkl", ".json", ".txt") for name in self._names("tune", suffix)]:
            if "/checkpoint" not in name and not name.endswith(ours):
                data = self.read_bytes(name)
                clean = redact.in_place(data)
                if clean != data:
                    self.write_bytes(name, clean)

    def _folders(self, folder: str) -> list[str]:
        fs, root = self._place
        infos = fs.get_file_info(pafs.FileSelector(f"{root}/{folder}", allow_not_found=True))
        return sorted(info.path[len(root) + 1 :] for info in infos if info.type == pafs.FileType.Directory)

    def _sizes(self, folder: str) -> dict[str, int]:
        fs, root = self._place
        infos = fs.get_file_info(pafs.FileSelector(f"{root}/{folder}", allow_not_found=True, recursive=True))
        return {info.path[len(root) + 1 :]: info.size for info in infos if info.type == pafs.FileType.File}

    # --- tables ----------------------------------------------------------------------------------------------------

    def trial_names(self) -> set[str]:
        """Ids of the trials that have a row."""
        return {Path(name).stem for name in self._names("trials", ".parquet")}

    def trials(self) -> pa.Table:
        """A row per ended trial: TRIALS, then the grid's further axes."""
        return self._read(self._names("trials", ".parquet"), TRIALS)

    def steps(self, trial_id: str | None = None) -> pa.Table:
        """Step rows of one or all trials, by trial and step, each step once (the last attempt's)."""
        folder = f"steps/{trial_id}" if trial_id else "steps"
        return parquet.curves(*self._step_files(self._names(folder, ".parquet")), _MERGED, schema(STEPS))

    def evals(self) -> pa.Table:
        return self._read(self._names("evals", ".parquet"), EVALS)

    def _read(self, names: Iterable[str], columns: tuple[Column, ...]) -> pa.Table:
        """All rows of some files in one table. Columns that we do not know are kept, ones that are missing are null."""
        return parquet.joined(self._files(names), schema(columns))

    def _step_files(self, names: Sequence[str]) -> tuple[Sequence[str], list[pa.Table]]:
        """Files of step rows, and what is in them. Those that were cut off in mid-write are left out, and named."""
        try:
            return names, self._files(names)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException):
            cut_off = [name for name in names if self._is_cut_off(name)]
            if not cut_off:
                raise
        log.warning("Cut off in mid-write, so left out: %s", ", ".join(map(self.uri, cut_off)))
        whole = [name for name in names if name not in cut_off]
        return whole, self._files(whole)

    def _is_cut_off(self, name: str) -> bool:
        """Whether a Parquet file has not both its ends."""
        fs, root = self._place
        with fs.open_input_file(f"{root}/{name}") as file:
            size = file.size()
            ends = [file.read_at(4, 0), file.read_at(4, size - 4)] if size >= 12 else []
        return ends != [b"PAR1", b"PAR1"]

    def _rename(self, name: str, other: str) -> None:
        fs, root = self._place
        fs.move(f"{root}/{name}", f"{root}/{other}")

    def _files(self, names: Iterable[str]) -> list[pa.Table]:
        fs, root = self._place
        return parquet.read(fs, [f"{root}/{name}" for name in names])


def unreadable(location: str, error: Exception) -> StoreError:
    """What to say of a sweep one of whose files cannot be read."""
    return StoreError(
        f"{location!r}: a file cannot be read: {in_one_line(str(error))}. "
        "Delete the broken file: the command that made the sweep runs its trial again."
    )
