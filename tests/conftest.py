"""What holds for every test."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests import installed

MORE_THAN_PYTHON = {"browser", "cluster", "gpu", "mount"}  # left out by default, in pyproject.toml
EVERY_PROGRAM = pytest.StashKey[str]()
PYTHON_ALONE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    folder = tempfile.TemporaryDirectory(prefix="programs-")
    config.add_cleanup(folder.cleanup)
    if bash := shutil.which("bash"):  # Ray starts its workers with it
        Path(folder.name, "bash").symlink_to(bash)
    config.stash[EVERY_PROGRAM] = os.environ.get("PATH", os.defpath)
    config.stash[PYTHON_ALONE] = os.pathsep.join([str(Path(sys.executable).parent), folder.name])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test without a mark finds no program but Python's, and bash: it passes on a machine that has no other."""
    marked = MORE_THAN_PYTHON & {mark.name for mark in item.iter_markers()}
    os.environ["PATH"] = item.config.stash[EVERY_PROGRAM if marked else PYTHON_ALONE]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment in which the project's wheel is installed, outside the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    sdist = installed.sdist(installed.source(folder / "source"), folder / "sdist")
    return installed.environment(installed.wheel(sdist, folder / "wheel"), folder / "environment")
