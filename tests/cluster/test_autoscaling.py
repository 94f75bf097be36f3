"""Workers from zero: Ray's autoscaler, on a head configured by cluster.yaml, buys what a sweep's trials wait for."""

import time
from collections.abc import Iterator

import pytest

from tests.cluster.lab import BUCKET, Host, Lab

pytestmark = pytest.mark.cluster

TRIALS = 6  # of three ranks and two seeds; fewer than max_workers
PREPARE = """
import yaml
from pathlib import Path
from tests.cluster import aws
aws.deploy()
config = aws.bootstrap(Path.home() / "aws.yaml")
aws.start(config, "head")
Path.home().joinpath("ray_bootstrap_config.yaml").write_text(yaml.safe_dump(config))
answer = config["head_start_ray_commands"][-1]
"""
WORKERS = """
from tests.cluster import aws
found = aws.client("ec2").describe_instances(Filters=[{"Name": "tag:ray-node-type", "Values": ["worker"]}])
instances = [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
answer = [[instance["InstanceType"], instance.get("InstanceLifecycle", "on demand")] for instance in instances]
"""


@pytest.fixture
def head(hosts: Lab) -> Iterator[Host]:
    """A head on the client's host, in an AWS account that moto plays."""
    it = hosts.client
    it.run(".venv/bin/ray get-auth-token --generate")
    start = str(it.python(PREPARE))
    it.run(f"export PATH=$PWD/.venv/bin:$PATH; {start} --num-cpus=0")  # the head's CPU: 0, which `ray up` passes on
    yield it
    it.run(".venv/bin/ray stop --force")


def test_waiting_trials_start_workers_from_zero(head: Host) -> None:
    assert head.python(WORKERS) == []
    sweep = head.start(
        "RAY_AUTH_MODE=token .venv/bin/python -m sweep.grid --preset demo --seeds 0 1 --name scaled --address auto"
        f" --gpus_per_trial 1 --storage_path s3://{BUCKET}/sweeps"
    )
    for _ in range(60):
        if len(head.python(WORKERS)) >= TRIALS or sweep.poll() is not None:
            break
        time.sleep(1)
    time.sleep(10)  # two rounds of the autoscaler: it must not buy more than there is demand for
    assert sweep.poll() is None, sweep.communicate()[0]
    assert head.python(WORKERS) == [["g5.xlarge", "spot"]] * TRIALS
    head.run("pkill -KILL -f sweep.grid")
    sweep.communicate(timeout=60)
