"""The project as a user has it: source distribution, wheel made of that, and an environment in which the wheel is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = ("sweep", "trainables")
_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def source(folder: Path) -> Path:
    """A copy of what the distributions are made of: setuptools builds beside what it reads."""
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docs", "cluster"):
        shutil.copytree(PROJECT / name, folder / name)
    for file in PROJECT.glob("[!.]*"):
        if file.is_file():
            shutil.copy(file, folder)
    return folder


def sdist(source: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run([sys.executable, "-c", _SDIST, folder], cwd=source, check=True, capture_output=True)
    (made,) = folder.glob("*.tar.gz")
    return made


def wheel(made_of: Path, folder: Path) -> Path:
    """Builds without an index, with the setuptools that is here."""
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*_PIP, "wheel", *options, str(made_of)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def environment(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel; what that depends on is seen from the running environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([*_PIP, "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    there = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(there))
    return folder


def run(environment: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a program of the environment in a folder, with nothing that leads to the checkout."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    program = environment / "bin" / words[0]
    return subprocess.run([program, *words[1:]], cwd=folder, env=own, capture_output=True, text=True)
