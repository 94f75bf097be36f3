"""Real Ray on this machine: started once for the tests that need nothing special of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import toys


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tokens and spools go where the tests are; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def ray_here() -> Iterator[Any]:
    """A local Ray of two CPUs and no GPU, quiet as the runner starts it."""
    yield from started(num_cpus=2)


@pytest.fixture(scope="module")
def ray_with_two_gpus() -> Iterator[Any]:
    """A local Ray that was told of two GPUs which are not there."""
    yield from started(num_cpus=4, num_gpus=2)


def started(**resources: int) -> Iterator[Any]:
    import os

    import ray

    from sweep.run.runner import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR", **resources)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.model(tmp_path_factory.mktemp("models") / "llama", "llama"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.model(tmp_path_factory.mktemp("models") / "gpt2", "gpt2"))


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Instruction rows that the project did not make: empty inputs, other alphabets, one row longer than most."""
    rows = [
        {
            "instruction": f"Add {n} to naïve café 数字",
            "input": "" if n % 2 else f"list {n}",
            "output": f"total = total + {n}  # 足す\n" * (1 + n % 4),
        }
        for n in range(60)
    ]
    file = tmp_path_factory.mktemp("data") / "rows.json"
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(file)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "results")
