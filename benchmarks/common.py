"""What the benchmarks share: a private Ray, silent sweeps, and medians."""

import contextlib
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SYNTHETIC = ("--trainable", "trainables.synthetic:Synthetic")


@contextlib.contextmanager
def own_ray(cpus: int) -> Iterator[None]:
    """A Ray with this many declared CPUs, only for this process."""
    import ray

    from sweep.run.runner import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def sweep(folder: str, *words: str) -> Any:
    """Runs a sweep in this process, silently; returns its store.

    Raises:
        RuntimeError: a trial failed, or the command was wrong; with the command's output.
    """
    from sweep.grid import main
    from sweep.store.store import Store

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(["--storage_path", folder, "--name", "sweep", *words])
    if code:
        raise RuntimeError(f"the sweep ended with exit code {code}:\n{output.getvalue()[-2000:]}")
    return Store(f"{folder}/sweep")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and its result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def median(values: Sequence[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


def spread(values: Sequence[float]) -> list[float]:
    """Minimum and maximum, which show how quiet the machine was."""
    return [float(f"{min(values):.4g}"), float(f"{max(values):.4g}")]


def show(name: str, content: dict[str, Any]) -> None:
    """Prints the benchmark's JSON object, with the machine's load."""
    load = [round(value, 2) for value in os.getloadavg()]
    print(json.dumps({"benchmark": name, **content, "cpus": os.cpu_count(), "load_average": load}, indent=2))
