"""A trial's checkpoints: the newest while it trains, the final one at its end.

    checkpoints/<trial_id>/<step>/    to resume from: weights, optimizer, training's resource use so far
    checkpoints/<trial_id>/final/     the trained adapter or model. Not under its step number: until it is complete, the one to
                                      resume from stays, and that one may be of the same step

Files are uploaded first, then the seal, which lists their names and sizes, so a partial copy is never taken for a complete
one. Only then are older checkpoints removed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.store.location import Location

SEAL = "sweep-checkpoint.json"
FINAL = "final"
Seal = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on local disk. `outcome` is set on a trial's final one; `name` is its name in the sweep."""

    folder: Path
    step: int
    outcome: dict[str, Any] | None
    name: str | None = None


@dataclass(frozen=True)
class Found:
    """A complete checkpoint in a sweep."""

    name: str
    seal: Seal

    @property
    def age(self) -> tuple[int, bool]:
        """Sort key, larger for newer ones: a trial's outcome comes after its last step."""
        return self.seal["step"], self.seal["outcome"] is not None


def seal_of(
    folder: Path, step: int, outcome: Mapping[str, Any] | None = None, micro_batch: int | None = None
) -> dict[str, Any]:
    """The seal of a complete folder on local disk; `micro_batch` as in the trial's row."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return {"step": step, "outcome": outcome, "micro_batch": micro_batch, "files": sizes}


def is_whole(seal: Seal, sizes: Mapping[str, int]) -> bool:
    """Whether all files that the seal lists are there, with the sizes it gives."""
    return all(sizes.get(name) == size for name, size in seal["files"].items())


def upload(store: Location, trial_id: str, folder: Path, seal: Seal) -> str:
    """Uploads a local folder as the trial's newest checkpoint; returns its name, relative to the sweep.

    Raises:
        OSError: the store refuses; the previous checkpoint is kept.
        LockLost: another driver has the sweep.
    """
    mine = f"checkpoints/{trial_id}"
    name = f"{mine}/{FINAL if seal['outcome'] is not None else seal['step']}"
    before = store.folders(mine)
    if name in before:  # an upload that was cut off, or an earlier one of the same step
        store.remove_folder(name)
    store.upload(folder, name)
    store.write_bytes(f"{name}/{SEAL}", json.dumps(seal).encode())
    # Only those from before the upload: after a hung request, another attempt's may have appeared.
    # A trial that has its final one is done: what uploads a step so late is an attempt that was given up.
    for older in [one for one in before if one not in (name, f"{mine}/{FINAL}")]:
        store.remove_folder(older)
    return name


def remove_all_but(store: Location, trial_id: str, name: str) -> None:
    """Removes the trial's other checkpoints, which are there where a process was killed after it had sealed this one.

    Raises:
        OSError: the store refuses.
        LockLost: another driver has the sweep.
    """
    for other in store.folders(f"checkpoints/{trial_id}"):
        if other != name:
            store.remove_folder(other)


def newest(store: Location, trial_id: str, micro_batch: int | None = None) -> Found | None:
    """The trial's newest complete checkpoint of a micro-batch size (see TRIALS)."""
    for folders in (_whole(store, f"checkpoints/{trial_id}"), _of_tune(store, trial_id)):
        found = [one for one in folders if one.seal.get("micro_batch") == micro_batch]
        if found:
            return max(found, key=lambda one: one.age)
    return None


def fetch(store: Location, trial_id: str, into: Path, micro_batch: int | None = None) -> Checkpoint | None:
    """Downloads the trial's newest complete checkpoint to a local folder; None if there is none."""
    found = newest(store, trial_id, micro_batch)
    if found is None:
        return None
    store.download(found.name, into)
    return Checkpoint(into, found.seal["step"], found.seal["outcome"], found.name)


def _of_tune(store: Location, trial_id: str) -> Iterator[Found]:
    """Checkpoints of earlier versions, kept by Ray Tune: `tune/<run>/<trial_id>/checkpoint_<number>`. Read until 0.2."""
    for run in store.folders("tune"):
        yield from _whole(store, f"{run}/{trial_id}")


def _whole(store: Location, folder: str) -> Iterator[Found]:
    sizes = store.sizes(folder)
    for name in [name.removesuffix(f"/{SEAL}") for name in sizes if name.endswith(f"/{SEAL}")]:
        inside = {key.removeprefix(f"{name}/"): size for key, size in sizes.items() if key.startswith(f"{name}/")}
        seal = _read(store, f"{name}/{SEAL}")
        if seal and is_whole(seal, inside):
            yield Found(name, seal)


def _read(store: Location, name: str) -> Seal | None:
    try:
        return dict(json.loads(store.read_bytes(name)))
    except (ValueError, OSError):
        return None
