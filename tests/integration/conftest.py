"""Real Ray on this machine, shared by all tests that need nothing special of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import toys


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tokens and spools go where the tests are, and no tracker's key is set; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "TENSORBOARD_LOGGING_DIR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="package")
def ray_with(own_caches: None) -> Iterator[Callable[..., Any]]:
    """Returns a local Ray with the given resources, as quiet as the runner starts it. A start takes six seconds, so the
    running one is kept until a test needs another."""
    import os

    import ray

    from sweep.run.runner import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    running: dict[str, int] = {}

    def use(**resources: int) -> Any:
        if resources != running:
            ray.shutdown()
            ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR", **resources)
            running.clear()
            running.update(resources)
        return ray

    yield use
    ray.shutdown()


@pytest.fixture
def ray_here(ray_with: Callable[..., Any]) -> Any:
    """A local Ray with two CPUs and no GPU."""
    return ray_with(num_cpus=2)


@pytest.fixture
def ray_with_two_gpus(ray_with: Callable[..., Any]) -> Any:
    """A local Ray with two declared GPUs that do not exist."""
    return ray_with(num_cpus=4, num_gpus=2)


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
