"""Keeps a data set's tokens on disk for the next sweep: two Arrow files and a manifest with their hashes.

    <folder>/<key>.train.arrow  <key>.held_out.arrow  <key>.json

Each is written to a temporary file and renamed, the manifest last. A file that is missing, cut off or altered is a miss,
never an error. The key covers everything that affects the tokens, so nothing ever needs to be invalidated; deleting the
folder is safe.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sweep.common.cache import atomic_file

_NAMES = ("train", "held_out")


@dataclass(frozen=True)
class TokenCache:
    """A folder of tokenized data sets."""

    folder: Path

    def _path(self, key: str, end: str) -> Path:
        return self.folder / f"{key}.{end}"

    def load(self, key: str) -> tuple[dict[str, pa.Table], list[str]] | None:
        """The tables `train` and `held_out`, mapped from disk, and the warnings given when they were made; or None."""
        try:
            manifest = json.loads(self._path(key, "json").read_bytes())
            tables = {}
            for name in _NAMES:
                path = self._path(key, f"{name}.arrow")
                if _hash(path) != manifest["sha256"][name]:
                    return None
                with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
                    tables[name] = reader.read_all()
            return tables, [str(warning) for warning in manifest["warnings"]]
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return None

    def save(self, key: str, tables: Mapping[str, pa.Table], warnings: Sequence[str]) -> None:
        """Writes the tables.

        Raises:
            OSError: the folder cannot be written to.
        """
        hashes = {}
        for name in _NAMES:
            path = self._path(key, f"{name}.arrow")
            with atomic_file(path) as aside:
                with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, tables[name].schema) as writer:
                    writer.write_table(tables[name].combine_chunks())
                hashes[name] = _hash(aside)
        with atomic_file(self._path(key, "json")) as aside:
            aside.write_text(json.dumps({"sha256": hashes, "warnings": list(warnings)}), encoding="utf-8")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
