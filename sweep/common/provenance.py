"""Provenance of results: library versions, git commit, and content hashes of models and data."""

import functools
import hashlib
import platform
import subprocess
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from sweep.common.cache import atomic_file, cache_folder

_SETTLED_S = 2.0  # a file that changed this recently may change again with the same timestamp
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "ray", "pyarrow")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that affect a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any]:
    """Commit of this project's checkout and whether it has uncommitted changes; empty if it is not a checkout.

    An environment inside somebody else's checkout is not one: its commit says nothing of the installed code.
    """
    folder = Path(__file__).resolve().parents[2]

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        if Path(ask("rev-parse", "--show-toplevel").strip()) != folder:
            return {}
        return {"git_commit": ask("rev-parse", "HEAD").strip(), "git_dirty": bool(ask("status", "--porcelain").strip())}
    except (OSError, subprocess.SubprocessError):
        return {}


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of the files' names and contents, the same on every machine."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def remembered_fingerprint(paths: Collection[Path]) -> str:
    """`fingerprint`, kept in the user's cache: gigabytes of weights are read once, not by every command.

    A file counts as unchanged by git's rule: same size, mtime, ctime and inode. A writer cannot set the ctime. A file that
    changed within the last two seconds is read again.
    """
    began = time.time()
    known = [(path.name, str(path.resolve()), path.stat()) for path in paths]
    marks = [(name, where, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for name, where, s in known]
    folder = cache_folder("fingerprints")
    if folder is None:
        return fingerprint(paths)
    kept = folder / hashlib.sha256(repr(sorted(marks)).encode()).hexdigest()[:32]
    with suppress(OSError):
        return kept.read_text()
    found = fingerprint(paths)
    settled = max((s.st_ctime for _, _, s in known), default=0.0) < began - _SETTLED_S
    if settled:
        with suppress(OSError), atomic_file(kept) as aside:  # on failure it is read again next time
            aside.write_text(found)
    return found
