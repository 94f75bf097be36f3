"""Reads W&B's own files: W&B 0.31 has no reader in Python.

A file is seven bytes of header and a log as LevelDB writes it: blocks of 32 KiB, in them records of a checksum (4 bytes), a
length (2), a kind (1: whole, 2: first part, 3: middle, 4: last) and so many bytes; together a protobuf message each.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER, RECORD = 32 * 1024, 7, 7


def records(file: Path) -> Iterator[Any]:
    """The messages `wandb.proto.wandb_internal_pb2.Record` of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = file.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + RECORD <= len(data):
        if BLOCK - at % BLOCK < RECORD:  # the rest of a block that has no room for a record
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + RECORD : at + RECORD + size]
        at += RECORD + size
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


class OfflineRun:
    """A run as its file has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (file,) = folder.glob("run-*.wandb")
        self.steps: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.id = self.group = self.name = ""
        self.exit_code: int | None = None
        for record in records(file):
            self._take(record)

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            self.id, self.group, self.name = run.run_id, run.run_group, run.display_name
            self.config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "history":
            self.steps.append(_items(record.history.item))
        elif kind == "summary":
            self.summary |= _items(record.summary.update)
        elif kind == "exit":
            self.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def runs(sweep: Path) -> list[OfflineRun]:
    """The offline runs in a sweep's folder, older ones first."""
    return [OfflineRun(folder) for folder in sorted((sweep / "wandb").glob("offline-run-*"))]
