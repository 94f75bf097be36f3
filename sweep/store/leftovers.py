"""What trials could not write to an unreachable store: kept on local disk, and uploaded before anything else later.

    <cache>/lora-rank-sweep/spool/<hash of the sweep's location>-<id of the sweep>/<trial_id>/<attempt>/
        log             what the attempt has printed so far
        steps/*.jsonl   step rows (see spool.py)
        ending.json     trial row, held-out rows, scores and the checkpoint's seal, if the attempt ended
        checkpoint/     the final one, if the store does not have it

An attempt has the folder from its start, so that what a killed process left there is found too; the folder is removed when
all of it is uploaded. The id is that of sweep.json: leftovers of a sweep that was deleted are not taken for those of a new one
at the same location.
"""

import errno
import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sweep.common.cache import cache_folder
from sweep.common.formatting import reason
from sweep.errors import ConfigError, StoreUnreachable
from sweep.store import checkpoints
from sweep.store.checkpoints import SEAL, Seal
from sweep.store.spool import decode, encode, recover
from sweep.store.store import Row, Store


def spool_dir(store: Store, sweep_id: str | None) -> Path:
    """Folder on this machine for a sweep's leftovers: in the user's cache, or else in the temporary directory.

    `sweep_id` is None for sweeps of earlier versions, which had no id.

    Raises:
        ConfigError: the temporary folder belongs to another user.
    """
    name = _prefix(store) + (f"-{sweep_id}" if sweep_id else "")
    spool = cache_folder("spool")
    if spool is not None and _writable(spool):
        return spool / name
    try:
        protect(_temporary() / name)
    except OSError as error:
        fix = "Set XDG_CACHE_HOME to a folder that you can write to."
        raise ConfigError(
            [f"no local folder for results that the store refuses: {reason(error)}: {_temporary()}. {fix}"]
        ) from error
    return _temporary() / name


def _prefix(store: Store) -> str:
    """The prefix that the folders of all sweeps at a location share."""
    return hashlib.sha256(store.absolute.rstrip("/").encode()).hexdigest()[:16]


def of_other_sweeps(store: Store, root: Path) -> list[Path]:
    """Folders with leftovers of other sweeps that were at this sweep's location."""
    return [folder for folder in sorted(root.parent.glob(f"{_prefix(store)}*")) if folder != root and pending(folder)]


def protect(root: Path) -> None:
    """Creates a spool in the temporary directory, where anyone could claim its name first, as this user's alone.

    Raises:
        OSError: the folder above it belongs to another user, or is a link.
    """
    folder = _temporary()
    if root.parent != folder:
        return
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not _is_ours(folder):
        raise PermissionError(errno.EPERM, "it belongs to another user, or is not a folder", str(folder))
    folder.chmod(0o700)


def _temporary() -> Path:
    return Path(tempfile.gettempdir(), f"lora-rank-sweep-{os.getuid()}")


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, not a link to one, and belongs to this user."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _writable(folder: Path) -> bool:
    """Whether it exists or can be created, and is writable."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


@dataclass(frozen=True)
class Kept:
    """A local folder that is to become a checkpoint, and its seal."""

    folder: Path
    seal: Seal


@dataclass
class Ending:
    """How an attempt ended: everything that is written then. `checkpoint` is the final one, if the store does not have it."""

    row: Row
    axes: Row
    evals: Sequence[Row] = field(default_factory=list)
    checkpoint: Kept | None = None
    scores: Sequence[Row] = field(default_factory=list)

    @property
    def trial_id(self) -> str:
        return str(self.row["trial_id"])

    def write(self, store: Store) -> None:
        """Writes the trial's row last: a trial that has one is done."""
        if self.evals:
            store.write_evals(self.trial_id, self.evals)
        if self.scores:
            store.write_scores(self.trial_id, self.scores)
        if self.checkpoint:
            kept = self.checkpoint
            self.row["checkpoint"] = checkpoints.upload(store, self.trial_id, kept.folder, kept.seal)
        elif "checkpoint" not in self.row:  # an earlier version's
            found = checkpoints.newest(store, self.trial_id, self.row.get("micro_batch"))
            self.row["checkpoint"] = found and found.name
        steps = store.merge_steps(self.trial_id)
        store.write_trial({"steps": steps, **self.row}, self.axes)

    def save(self, folder: Path) -> None:
        """Saves it in an attempt's local folder."""
        seal = self.checkpoint.seal if self.checkpoint else None
        rows = {"evals": list(self.evals), "scores": list(self.scores)}
        content = {"row": self.row, "axes": self.axes, **rows, "seal": seal}
        if self.checkpoint:
            shutil.move(self.checkpoint.folder, folder / "checkpoint")
        aside = folder / "ending.tmp"
        aside.write_text(json.dumps(content, default=encode))
        aside.replace(folder / "ending.json")

    @classmethod
    def load(cls, folder: Path) -> "Ending | None":
        if not (folder / "ending.json").is_file():
            return None
        content = json.loads((folder / "ending.json").read_text(), object_hook=decode)
        seal = content.pop("seal", None)
        return cls(**content, checkpoint=_kept(folder / "checkpoint", seal))


def _kept(folder: Path, seal: Seal | None) -> Kept | None:
    if (folder / SEAL).is_file():  # an earlier version's
        seal = json.loads((folder / SEAL).read_text())
    return Kept(folder, seal) if seal and folder.is_dir() else None


def upload(store: Store, folder: Path, trial_id: str, attempt: int, ending: Ending | None) -> None:
    """Uploads an attempt's leftovers.

    Raises:
        OSError: the store refuses; what it does not have is still in the folder.
    """
    recover(folder / "steps", lambda sequence, rows: store.write_step_part(trial_id, attempt, sequence, rows))
    log = None
    if (folder / "log").is_file():
        log = store.write_log(trial_id, (folder / "log").read_text(errors="replace"))
    if ending:
        ending.row["log"] = log
        ending.write(store)


def unreachable(store: Store, trial_id: str, error: OSError, folder: Path) -> StoreUnreachable:
    """The error for a store that stayed unreachable; `folder`, if it exists, keeps what the trial measured."""
    kept = f"What it measured is kept in {folder} on {platform.node()}. " if folder.exists() else ""
    return StoreUnreachable(
        f"{trial_id}: {store.location} cannot be written to: {reason(error)}. {kept}Run the same command there to upload it and resume."
    )


def pending(root: Path, trial_id: str = "*") -> list[Path]:
    """The folders of attempts with leftovers, by trial, older attempts first."""
    folder = _temporary()
    if root.parent == folder and os.path.lexists(folder) and not _is_ours(folder):
        return []  # another user's: not trusted
    return sorted(root.glob(f"{trial_id}/[0-9]*"), key=lambda folder: (folder.parent.name, int(folder.name)))


def upload_all(store: Store, root: Path, trial_id: str = "*") -> list[Ending]:
    """Uploads the pending leftovers of one trial or of all; returns the endings among them.

    Raises:
        OSError: the store refuses.
    """
    endings = []
    for folder in pending(root, trial_id):
        name, attempt = folder.parent.name, int(folder.name)
        row = store.trial(name)
        if row is None or (row["attempts"] or 0) <= attempt:  # otherwise a later attempt replaced all of it
            ending = Ending.load(folder)
            upload(store, folder, name, attempt, ending)
            if ending is None and row is not None:
                store.merge_steps(name)
            endings += [ending] if ending else []
        remove(folder)
    return endings


def remove(folder: Path) -> None:
    """Removes an attempt's folder, and its parents if they are then empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
