"""An AWS account under moto with cluster/aws.yaml deployed, and Ray's own steps from cluster.yaml to instances in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws import utils as ray_aws
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "cluster" / "aws.yaml"
CLUSTER = ROOT / "cluster.yaml"
REGION = "us-west-2"
BUCKET = "my-results"
SSH_FROM = "203.0.113.7/32"
HEAD_IMAGE, WORKER_IMAGE = "ami-head", "ami-worker"

Json = dict[str, Any]


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def deploy() -> None:
    """Deploys cluster/aws.yaml, with image ids in place of the public parameters, which moto does not have."""
    parameters = {
        "Bucket": BUCKET,
        "SshFrom": SSH_FROM,
        "HeadImage": HEAD_IMAGE,
        "WorkerImage": WORKER_IMAGE,
        "WorkerTypes": "g5.xlarge",  # moto does not split a list that is a default
    }
    body = TEMPLATE.read_text().replace("AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "AWS::EC2::Image::Id")
    client("cloudformation").create_stack(
        StackName="lora-rank-sweep",
        TemplateBody=body,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )


def _forget_clients() -> None:
    """Ray keeps its clients for good; one made under moto must not outlive it, nor the other way round."""
    ray_aws.resource_cache.cache_clear()
    ray_aws.client_cache.cache_clear()


@contextmanager
def account(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """An empty account; keys and Ray's caches go to `home`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("HOME", str(home))
    _forget_clients()
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield
    _forget_clients()


def bootstrap(path: Path = CLUSTER) -> Json:
    """cluster.yaml as Ray fills it in before it starts anything: defaults, checks, roles, keys, subnets."""
    config: Json = _bootstrap_config(yaml.safe_load(path.read_text()), no_config_cache=True)
    return config


def start(config: Json, node_type: str) -> list[Json]:
    """Requests an instance of one node type as the launcher and the autoscaler do; what the account then has."""
    provider = _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)
    kind = "head" if node_type == config["head_node_type"] else "worker"
    tags = {"ray-node-type": kind, "ray-user-node-type": node_type, "ray-launch-config": "test"}
    made = provider.create_node(config["available_node_types"][node_type]["node_config"], tags, 1)
    reservations = client("ec2").describe_instances(InstanceIds=list(made))["Reservations"]
    return [instance for reservation in reservations for instance in reservation["Instances"]]
