"""A bounded folder on local disk for step rows that the store has not taken yet; what is left there can be uploaded later.

A file holds one part, a JSON object per line, and is complete or absent. JSON rather than Parquet, since a row with a
column that the store refuses must survive here too; not pickle, since a later process reads these files.
"""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sweep.store.store import Row

LIMIT_BYTES = 256 * 1024**2  # about 600,000 rows
_TIME = "$time"


def encode(value: Any) -> Any:
    """For json.dumps: encodes values that a row may hold but JSON cannot represent."""
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a step row holds {type(value).__name__}, which is neither a number, a string nor a time")


def decode(value: dict[str, Any]) -> Any:
    """For json.loads: the reverse of `encode`."""
    return datetime.fromisoformat(value[_TIME]) if value.keys() == {_TIME} else value


class Spool:
    """Parts by sequence number. Each attempt of a trial has its own folder, in which numbers start over."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._sizes = {int(path.stem): path.stat().st_size for path in folder.glob("*.jsonl")}
        self._used = sum(self._sizes.values())
        self._lock = threading.Lock()

    def _path(self, sequence: int) -> Path:
        return self.folder / f"{sequence:06d}.jsonl"

    @property
    def full(self) -> bool:
        """Whether the limit is reached. The part that crosses it is still accepted."""
        return self._used >= self.limit_bytes

    @property
    def sequences(self) -> list[int]:
        return sorted(self._sizes)

    def save(self, sequence: int, rows: Sequence[Row]) -> None:
        """Writes a part to disk.

        Raises:
            OSError: the disk refuses; nothing of the part is left.
            TypeError: a row holds something that JSON cannot represent.
        """
        data = "".join(json.dumps(row, default=encode) + "\n" for row in rows).encode()
        aside = self._path(sequence).with_suffix(".tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data)
            aside.replace(self._path(sequence))
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._account(sequence, len(data))

    def load(self, sequence: int) -> list[Row]:
        """A part's rows.

        Raises:
            OSError, ValueError: the file is gone, or not as it was written.
        """
        lines = self._path(sequence).read_text().splitlines()
        return [json.loads(line, object_hook=decode) for line in lines]

    def discard(self, sequence: int) -> None:
        """Removes a part."""
        self._account(sequence, 0)
        self._path(sequence).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder if it is empty."""
        with suppress(OSError):
            self.folder.rmdir()

    def _account(self, sequence: int, size: int) -> None:
        with self._lock:
            self._used += size - self._sizes.pop(sequence, 0)
            if size:
                self._sizes[sequence] = size


def recover(folder: Path, write: Callable[[int, list[Row]], None]) -> int:
    """Writes the parts that an earlier process left in a spool's folder; returns the number of rows.

    Raises:
        Whatever `write` raises: that part and those after it stay in the folder.
    """
    spool, rows = Spool(folder), 0
    for sequence in spool.sequences:
        part = spool.load(sequence)
        write(sequence, part)
        spool.discard(sequence)
        rows += len(part)
    spool.remove()
    return rows
