"""Checkpoints that are whole: each has a seal that lists its files and their sizes, so half a copy is never taken for one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEAL = "sweep-checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on local disk. `outcome` is set on the one that a trial left at its end."""

    folder: Path
    step: int
    outcome: dict[str, Any] | None


def seal(folder: Path, step: int, outcome: Mapping[str, Any] | None, micro_batch: int | None = None) -> None:
    """Writes the seal of a complete folder; `micro_batch` as in the trial's row."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    sizes.pop(SEAL, None)
    (folder / SEAL).write_text(
        json.dumps({"step": step, "outcome": outcome, "micro_batch": micro_batch, "files": sizes})
    )


def is_whole(content: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
    """Whether the files that are there, by name and size, are those that the seal lists."""
    return all(sizes.get(name) == size for name, size in content["files"].items())
