"""cluster/kuberay.yaml: fields as KubeRay knows them, and the same sweep, limits and safeguards as cluster.yaml."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.cluster.lab import ROOT

Json = dict[str, Any]

JOB: Json = yaml.safe_load((ROOT / "cluster" / "kuberay.yaml").read_text())
AWS: Json = yaml.safe_load((ROOT / "cluster.yaml").read_text())
SCHEMA: Json = yaml.safe_load(Path(__file__).with_name("rayjob.schema.yaml").read_text())
SPEC = JOB["spec"]["rayClusterSpec"]


def complaints(job: Json) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(job)]


def test_every_field_is_one_that_kuberay_knows() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert complaints(JOB) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "shutdownAfterJobFinished"), True),  # misspelt: Kubernetes would drop it, and pods would stay
        (("spec", "ttlSecondsAfterFinished"), "300"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "Token"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),  # must be text
    ],
)
def test_the_schema_finds_mistakes(path: tuple[str, ...], value: Any) -> None:
    job = copy.deepcopy(JOB)
    place = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert complaints(job)


def test_it_is_the_same_cluster_as_on_aws() -> None:
    (workers,) = SPEC["workerGroupSpecs"]
    spot = AWS["available_node_types"]["worker.spot"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (spot["min_workers"], spot["max_workers"])
    assert SPEC["autoscalerOptions"]["idleTimeoutSeconds"] == AWS["idle_timeout_minutes"] * 60
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert SPEC["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_it_is_as_safe() -> None:
    assert SPEC["authOptions"] == {"mode": "token"}
    assert SPEC["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in (SPEC["headGroupSpec"], *SPEC["workerGroupSpecs"]):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


def test_nothing_is_left_when_the_sweep_has_ended() -> None:
    assert JOB["spec"]["shutdownAfterJobFinishes"] is True


def test_ray_is_the_version_that_is_tested() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    assert SPEC["rayVersion"] == pinned.group(1)
    assert f"rayproject/ray:{pinned.group(1)}-" in (ROOT / "cluster" / "Dockerfile").read_text()


def test_the_image_has_what_the_nodes_get_elsewhere() -> None:
    copied = set(re.findall(r"^COPY --chown=\S+ (.+) \S+$", (ROOT / "cluster" / "Dockerfile").read_text(), re.M))
    names = {name for line in copied for name in line.split()}
    mounted = {local for local in AWS["file_mounts"].values() if not local.startswith("~")}
    assert names == mounted - {"cluster"}
