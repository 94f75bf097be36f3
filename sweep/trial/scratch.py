"""A process's own temporary folder, whose name identifies the process, so that what a killed process left can be removed."""

import getpass
import os
import re
import shutil
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from sweep.common.processes import boot_time, pid_namespace, start_ticks, this_process

_NAME = re.compile(r"trial-(\d+)-(\d+)-([0-9a-f]{8})-")


def make() -> Path:
    """Creates a new folder for this process."""
    pid, start = this_process()
    return Path(tempfile.mkdtemp(prefix=f"trial-{pid}-{start}-{_here()}-"))


def settle(*, alone: bool = False) -> Path:
    """Moves this process's temporary directory, for libraries too, to a folder of its own; returns the folder.

    Child processes inherit it, unless `alone`.
    """
    remove_abandoned()
    folder = make()
    tempfile.tempdir = str(folder)
    if alone:
        return folder
    with suppress(OSError, KeyError):  # a user without a name
        # torch's compilation cache is for later processes too, so it stays at its default location.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.parent / f"torchinductor_{getpass.getuser()}"))
    os.environ["TMPDIR"] = str(folder)
    return folder


def remove_abandoned() -> list[Path]:
    """Removes the folders whose process is gone; returns them. Keeps those of processes that are not visible from here."""
    gone = [folder for folder in Path(tempfile.gettempdir()).glob("trial-*") if _abandoned(folder)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _abandoned(folder: Path) -> bool:
    match = _NAME.match(folder.name)
    if match is None:
        return False
    pid, start, place = match.groups()
    try:
        before_boot = folder.lstat().st_mtime < boot_time()
    except OSError:
        return False
    return before_boot or (place == _here() and start_ticks(int(pid)) != start)


def _here() -> str:
    return sha256(pid_namespace().encode()).hexdigest()[:8]
