"""What a trial costs the driver and the object store, measured on small clusters and extrapolated to 512 nodes.

    python -m benchmarks.scale_nodes [--sizes 4 8 16] [--simulate 8 32 128 512]

Measured: real sweeps of the synthetic trainable with two trials per node, on nodes that Ray's `cluster_utils` starts on
this machine, each with one declared GPU, with results on moto's S3 server. The largest size is left out of the fit and
predicted instead; the ratio is predicted over measured. Simulated: see benchmarks/scale_simulation.py.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.scale_simulation import Costs, Sweep, simulate

PORT = 5055
STORAGE = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
PRICE = {"write": 0.005 / 1000, "read": 0.0004 / 1000}  # US dollars, S3 standard: PUT, POST, LIST; GET, HEAD
TRIALS_PER_NODE = 2
STEP_S = 0.25
STEPS, TRAINING_STEP_S = 1000, 0.4  # the simulated trials: seven minutes each


@dataclass(frozen=True)
class Measured:
    """One real sweep."""

    nodes: int
    trials: int
    steps: int
    reports: int  # processed by Tune's loop
    uploads: int  # of the experiment's state
    synced: int  # trials in all uploads together
    driver_cpu_s: float
    gcs_cpu_s: float
    wall_s: float
    requests: dict[str, int]  # "trial write", "trial read", "sync write", "sync read"


class Storage:
    """moto's S3 server, and the requests that it has served."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def lines(self) -> list[tuple[str, str]]:
        """(method, URL) of every request so far."""
        return re.findall(r'"(\w+) (\S+) HTTP', self._log.read_text())

    def counts(self, lines: list[tuple[str, str]]) -> dict[str, int]:
        """Number of requests by origin and price."""
        found: Counter[str] = Counter()
        for method, url in lines:
            who = "sync" if "/tune/" in url else "trial"
            listed = "list-type" in url
            found[f"{who} {'read' if method in ('GET', 'HEAD') and not listed else 'write'}"] += 1
        return dict(found)


def _await_server() -> None:
    for _ in range(120):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT)):
            return
        time.sleep(0.5)
    raise RuntimeError(f"moto's server does not answer on port {PORT}: is something else there?")


@contextmanager
def storage(folder: Path) -> Iterator[Storage]:
    """An S3 server with the bucket `results`, on the loopback interface."""
    import boto3

    os.environ.update(STORAGE)
    with (folder / "requests.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(PORT)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_server()
            boto3.client("s3").create_bucket(Bucket="results")
            yield Storage(folder / "requests.log")
        finally:
            server.terminate()
            server.wait()


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A head without resources, and nodes with one CPU and one declared GPU each."""
    from ray.cluster_utils import Cluster

    quiet = {"include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, num_gpus=1, object_store_memory=80_000_000, **quiet)
        yield made
    finally:
        made.shutdown()


def _gcs_cpu() -> float:
    import psutil

    times = [process.cpu_times() for process in psutil.process_iter(["name"]) if process.info["name"] == "gcs_server"]
    return float(sum(each.user + each.system for each in times))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _driver(address: str, name: str, trials: int, steps: int) -> None:
    """Runs the sweep as a user would."""
    flags = {
        "trainable": "trainables.synthetic:Synthetic",
        "lora_r": "8",
        "max_steps": str(steps),
        "step_time_s": str(STEP_S),
        "gpus_per_trial": "1",
        "address": address,
        "storage_path": "s3://results/sweeps",
        "name": name,
    }
    words = [word for key, value in flags.items() for word in (f"--{key}", value)]
    seeds = ["--seeds", *map(str, range(trials))]
    done = subprocess.run([sys.executable, "-m", "sweep.grid", *words, *seeds], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _reports(name: str) -> int:
    """Number of a sweep's results in Tune's own log."""
    from sweep.store.location import filesystem

    fs, _ = filesystem("s3://results")
    import pyarrow.fs as pafs

    files = fs.get_file_info(pafs.FileSelector(f"results/sweeps/{name}/tune", recursive=True))
    logs = [info.path for info in files if info.path.endswith("/result.json")]
    return sum(fs.open_input_stream(path).read().count(b"\n") for path in logs)


def measure(nodes: int, steps: int, store: Storage) -> Measured:
    """One sweep on a fresh cluster."""
    trials, name = nodes * TRIALS_PER_NODE, f"n{nodes}-s{steps}"
    with cluster(nodes) as up:
        before = len(store.lines())
        gcs, cpu, began = _gcs_cpu(), _children_cpu(), time.monotonic()
        _driver(up.address, name, trials, steps)
        wall, cpu, gcs = time.monotonic() - began, _children_cpu() - cpu, _gcs_cpu() - gcs
    lines = store.lines()[before:]
    parts = [url for method, url in lines if method == "PUT" and "/tune/" in url and "partNumber" in url]
    return Measured(
        nodes=nodes,
        trials=trials,
        steps=steps,
        reports=_reports(name),
        uploads=sum("/experiment_state-" in url for url in parts),
        synced=sum("/params.json" in url for url in parts),
        driver_cpu_s=round(cpu, 2),
        gcs_cpu_s=round(gcs, 2),
        wall_s=round(wall, 1),
        requests=store.counts(lines),
    )


def _row(run: Measured) -> list[float]:
    return [1.0, run.trials, run.reports, run.synced]


def fit(runs: list[Measured]) -> tuple[float, Costs]:
    """The driver's fixed time, and the cost of each operation, by non-negative least squares."""
    (fixed, trial, report, synced), _ = nnls(np.array([_row(run) for run in runs]), [run.driver_cpu_s for run in runs])
    uploads = np.array([[run.uploads, run.synced] for run in runs], dtype=float)
    (upload_requests, synced_requests), _ = nnls(uploads, [_requests(run, "sync") for run in runs])
    own = sum(_requests(run, "trial") for run in runs) / sum(run.trials for run in runs)
    return float(fixed), Costs(
        float(trial), float(report), float(synced), own, float(synced_requests), float(upload_requests)
    )


def _requests(run: Measured, who: str) -> int:
    return run.requests.get(f"{who} write", 0) + run.requests.get(f"{who} read", 0)


def predict(run: Measured, fixed: float, costs: Costs) -> float:
    """Predicts a sweep's driver time from its counts."""
    return float(np.dot(_row(run), [fixed, costs.trial_s, costs.report_s, costs.synced_s]))


def dollars(run: Measured) -> dict[str, float]:
    """Price of requests per trial: the trial's own, and its share of the uploads of Tune's state."""
    price = {
        who: sum(PRICE[kind] * run.requests.get(f"{who} {kind}", 0) for kind in PRICE) for who in ("trial", "sync")
    }
    return {who: total / run.trials for who, total in price.items()}


def extrapolated(sizes: list[int], costs: Costs) -> dict[int, Any]:
    """Simulated sweeps of seven-minute trials on clusters of these sizes."""
    return {
        nodes: asdict(simulate(Sweep(nodes, nodes * TRIALS_PER_NODE, STEPS, TRAINING_STEP_S), costs)) for nodes in sizes
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--simulate", type=int, nargs="+", default=[8, 32, 128, 512])
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, storage(Path(folder)) as store:
        *sizes, largest = sorted(flags.sizes)
        runs = [measure(nodes, steps, store) for nodes in sizes for steps in (20, 80)]
        held_out = measure(largest, 40, store)
    fixed, costs = fit(runs)
    predicted = predict(held_out, fixed, costs)
    answer = {
        "ratio": round(predicted / held_out.driver_cpu_s, 3),
        "predicted_driver_cpu_s": round(predicted, 2),
        "measured": [asdict(run) for run in [*runs, held_out]],
        "fixed_driver_s": round(fixed, 2),
        "costs": asdict(costs),
        "dollars_per_trial": dollars(held_out),
        "simulated": extrapolated(flags.simulate, costs),
        "simulated_if_uploads_took_no_trials": extrapolated(
            flags.simulate, replace(costs, synced_s=0.0, synced_requests=0.0)
        ),
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
