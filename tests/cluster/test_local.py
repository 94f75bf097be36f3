"""The real `ray up` on two hosts in the cloud's place. The tests run in the order written, on one cluster."""

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.lab import ADDRESS

pytestmark = pytest.mark.cluster

GCS = f"{ADDRESS['head']}:6379"
DASHBOARD = 8265


def test_up_installs_the_project_on_every_node(cluster: Cluster) -> None:
    cluster.await_gpus(2)
    for host in (cluster.hosts.head, cluster.hosts.worker):
        code = "import sweep, sys; answer = [sweep.__file__, sys.prefix]"
        assert host.python(code)[0] == "/home/ubuntu/lora-rank-sweep/sweep/__init__.py"


def test_a_client_without_the_token_is_refused(cluster: Cluster) -> None:
    client = cluster.hosts.client
    status = f".venv/bin/ray status --address {GCS}"
    wrong = "RAY_AUTH_TOKEN=" + "0" * 64
    assert "2.0 GPU" in client.run(f"RAY_AUTH_MODE=token {status}").stdout
    for attempt in (f"RAY_AUTH_MODE=disabled {status}", f"RAY_AUTH_MODE=token {wrong} {status}"):
        refused = client.run(attempt, check=False)
        assert refused.returncode != 0
        assert "Authenticat" in refused.stdout + refused.stderr
        assert "GPU" not in refused.stdout


def test_a_node_without_the_token_cannot_join(cluster: Cluster) -> None:
    client = cluster.hosts.client
    joined = client.run(f"RAY_AUTH_MODE=disabled .venv/bin/ray start --address {GCS} --num-gpus 1", check=False)
    client.run(".venv/bin/ray stop")
    assert joined.returncode != 0
    assert cluster.gpus() == 2


def test_the_dashboard_answers_on_the_loopback_only(cluster: Cluster) -> None:
    head, worker, client = cluster.hosts.head, cluster.hosts.worker, cluster.hosts.client
    assert head.connects("127.0.0.1", DASHBOARD)  # it is there
    assert not any(host.connects(ADDRESS["head"], DASHBOARD) for host in (head, worker, client))


def test_down_leaves_nothing_running(cluster: Cluster) -> None:
    cluster.down()
    assert cluster.hosts.head.await_end("gcs_server", "raylet")
    assert cluster.hosts.worker.await_end(
        "raylet"
    )  # nobody stops it, as a cloud would: it ends when it misses the head
