"""A process's own folder in the temporary directory, whose name says whose it is: what a killed process left is removed later."""

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
    """A new folder of this process's."""
    pid, start = this_process()
    return Path(tempfile.mkdtemp(prefix=f"trial-{pid}-{start}-{_here()}-"))


def settle(*, alone: bool = False) -> Path:
    """From now on all temporary files of this process are in a folder of its own, those of libraries included; returns it.

    Those of the processes that it starts, too, unless it is to be `alone`.
    """
    remove_abandoned()
    folder = make()
    tempfile.tempdir = str(folder)
    if alone:
        return folder
    with suppress(OSError, KeyError):  # a user without a name
        # What torch has compiled is there for later processes: it stays where torch would have it.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.parent / f"torchinductor_{getpass.getuser()}"))
    os.environ["TMPDIR"] = str(folder)
    return folder


def remove_abandoned() -> list[Path]:
    """Removes the folders whose process is gone; returns them. Those of a process that cannot be seen from here stay."""
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
