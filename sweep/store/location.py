"""A folder on any `pyarrow.fs` file system: its files as bytes, each complete or absent, and a fence for its writers.

A file is written under a temporary name and moved into place; an object store takes it in one request.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from sweep import redact
from sweep.common.formatting import reason
from sweep.errors import LockLost, StoreError

_OBJECT_STORES = {"s3", "gcs", "abfs"}
_RETRY_LIMIT_S = 10  # a request that fails for this long is an error; the spool and the next start retry it
LOCK = "lock.json"
_TRIES = 5


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
            raise ValueError("it names neither a bucket nor a folder")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_place(location, error) from error
    return fs, path


def _limited(location: str) -> str:
    """The URI with a limit on retries of a request: Google's client would retry for a quarter of an hour."""
    if not location.startswith(("gs://", "gcs://")):
        return location
    return f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={_RETRY_LIMIT_S}"


def _local_path(location: str) -> str:
    try:
        path = str(Path(location).expanduser().absolute())
        if "\0" in path:
            raise ValueError("it contains a NUL character")
    except (RuntimeError, ValueError) as error:
        raise _no_place(location, error) from error
    return path


def _no_place(location: str, error: Exception) -> StoreError:
    shown = redact.urls(location)
    why = redact.urls(reason(error)).removesuffix(f": {shown}").removesuffix(f": {shown!r}")
    return StoreError(
        f"{shown!r} is not a location that can be read or written: {why}. Give a path or a URI such as s3://bucket/folder."
    )


@dataclass(frozen=True)
class Location:
    """A sweep's folder. Cheap to create and to send to another process: it holds only a location and a lock's nonce.

    With a `nonce`, each write first checks that the lock still has it: a driver whose sweep was taken over, and its workers,
    find out before they write.
    """

    location: str
    nonce: str | None = None

    @property
    def where(self) -> tuple[pafs.FileSystem, str]:
        """The file system, and the folder's path in it."""
        return filesystem(self.location)

    @property
    def absolute(self) -> str:
        """The location, independent of the current directory."""
        return self.location if "://" in self.location else _local_path(self.location)

    @property
    def local(self) -> Path | None:
        """The sweep's folder, if it is on a local disk; otherwise None."""
        fs, path = self.where
        return Path(path) if isinstance(fs, pafs.LocalFileSystem) else None

    def uri(self, *parts: str) -> str:
        """Location of something inside the sweep, as the user would write it."""
        return "/".join([self.location.rstrip("/"), *parts])

    def fence(self) -> None:
        """Checks that the lock still has this location's nonce.

        Raises:
            LockLost: it belongs to another driver, or is gone.
            OSError: it cannot be read.
        """
        if self.nonce is None:
            return
        try:
            holder = json.loads(self.read_bytes(LOCK))
        except FileNotFoundError:
            raise LockLost(f"{self.uri(LOCK)} is gone, so another driver may write there: this one stops.") from None
        except ValueError:  # it is just being written, and not by us: ours was complete
            holder = {}
        if holder.get("nonce") != self.nonce:
            who = f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
            raise LockLost(f"{self.location} was taken over by another driver ({who}): this one stops.")

    def write_bytes(self, name: str, data: bytes) -> None:
        """Writes a whole file, replacing an existing one."""
        self.fence()
        fs, root = self.where
        target = f"{root}/{name}"
        fs.create_dir(target.rsplit("/", 1)[0], recursive=True)
        aside = fs.type_name not in _OBJECT_STORES
        path = f"{target}.tmp" if aside else target
        with fs.open_output_stream(path) as stream:
            stream.write(data)
        if aside:
            try:
                fs.move(path, target)
            except OSError:  # the target is a folder
                fs.delete_file(path)
                raise

    def read_bytes(self, name: str) -> bytes:
        fs, root = self.where
        with fs.open_input_stream(f"{root}/{name}") as stream:
            data: bytes = stream.read()
        return data

    def exists(self, name: str) -> bool:
        fs, root = self.where
        found: bool = fs.get_file_info(f"{root}/{name}").type != pafs.FileType.NotFound
        return found

    def modified(self, name: str) -> float:
        """When a file was last written, in seconds since the epoch; 0 if there is none."""
        fs, root = self.where
        when = fs.get_file_info(f"{root}/{name}").mtime
        return float(when.timestamp()) if when else 0.0

    def remove(self, name: str) -> None:
        """Removes a file, if it exists."""
        fs, root = self.where
        if self.exists(name):
            fs.delete_file(f"{root}/{name}")

    def names(self, folder: str, suffix: str) -> list[str]:
        """Files below a folder of the sweep, relative to the sweep, sorted."""
        return sorted(name for name in self.sizes(folder) if name.endswith(suffix))

    def sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder of the sweep, relative to the sweep, with their sizes in bytes."""
        found = self._listed(folder, recursive=True)
        return {name: info.size for name, info in found.items() if info.type == pafs.FileType.File}

    def folders(self, folder: str) -> list[str]:
        """The folders in a folder of the sweep, relative to the sweep, sorted."""
        found = self._listed(folder, recursive=False)
        return sorted(name for name, info in found.items() if info.type == pafs.FileType.Directory)

    def _listed(self, folder: str, recursive: bool) -> dict[str, pafs.FileInfo]:
        fs, root = self.where
        selector = pafs.FileSelector(f"{root}/{folder}", allow_not_found=True, recursive=recursive)
        for left in reversed(range(_TRIES)):
            try:
                return {info.path[len(root) + 1 :]: info for info in fs.get_file_info(selector)}
            except FileNotFoundError:  # a trial removed an older checkpoint in the meantime
                if not left:
                    raise
        raise AssertionError("unreachable")

    def rename(self, name: str, other: str) -> None:
        fs, root = self.where
        fs.move(f"{root}/{name}", f"{root}/{other}")

    def upload(self, folder: Path, name: str) -> None:
        """Copies the files of a local folder into one of the sweep."""
        self.fence()
        fs, root = self.where
        fs.create_dir(f"{root}/{name}", recursive=True)
        pafs.copy_files(
            str(folder), f"{root}/{name}", source_filesystem=pafs.LocalFileSystem(), destination_filesystem=fs
        )

    def download(self, name: str, folder: Path) -> None:
        """Copies the files of a folder of the sweep into a local one."""
        fs, root = self.where
        folder.mkdir(parents=True, exist_ok=True)
        pafs.copy_files(
            f"{root}/{name}", str(folder), source_filesystem=fs, destination_filesystem=pafs.LocalFileSystem()
        )

    def remove_folder(self, name: str) -> None:
        """Removes a folder and what is in it, if it exists."""
        self.fence()
        fs, root = self.where
        with suppress(FileNotFoundError):
            fs.delete_dir(f"{root}/{name}")
