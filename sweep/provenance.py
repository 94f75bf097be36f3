"""Where results come from: versions, git commit, and content hashes of models and data."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "ray", "pyarrow")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that make a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any]:
    """Commit of this project's checkout and whether it has changes; nothing where it is no checkout."""
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        return {"git_commit": ask("rev-parse", "HEAD").strip(), "git_dirty": bool(ask("status", "--porcelain").strip())}
    except (OSError, subprocess.SubprocessError):
        return {}


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of files' names and contents, the same on every machine."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
