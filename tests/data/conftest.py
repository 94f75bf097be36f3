"""What tests of rows and tokens share, made once."""

from pathlib import Path
from typing import Any

import pytest

from tests import toys
from tests.data.sources import load, write_json


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("reference") / "rows.json"
    write_json(path)
    return load(path)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("toy") / "llama")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
