"""The real `ray up` on two hosts in the cloud's place. The tests run in the order written, on one cluster."""

import json
import time
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, shell_lines
from tests.cluster.lab import ADDRESS

pytestmark = pytest.mark.cluster

GCS = f"{ADDRESS['head']}:6379"
DASHBOARD = 8265


SWEEP = "codealpaca"  # the README's --name
DISTURBED = "disturbed"
OWN = "own-rows"
TRIALS, STEPS = 9, 60  # of the demo: three ranks, three seeds

Rows = list[dict[str, Any]]


def losses(steps: Rows) -> dict[str, list[float]]:
    """Loss by loss of each trial. Fails where a step is missing or there twice."""
    found: dict[str, list[float]] = {}
    for trial_id in sorted({row["trial_id"] for row in steps}):
        own = [row for row in steps if row["trial_id"] == trial_id]
        assert [row["step"] for row in own] == list(range(1, STEPS + 1))
        found[trial_id] = [row["loss"] for row in own]
    return found


def await_mid_sweep(cluster: Cluster, name: str) -> None:
    """Returns when two trials run, one on each host, both past a checkpoint and far from their end."""
    for _ in range(120):
        try:
            tables = cluster.tables(name)
        except AssertionError:  # not begun
            continue
        ended = {row["trial_id"] for row in tables["trials"]}
        at: dict[str, int] = {}
        for row in tables["steps"]:
            if row["trial_id"] not in ended:
                at[row["trial_id"]] = max(at.get(row["trial_id"], 0), row["step"])
        if len(at) == 2 and all(15 <= step <= STEPS - 20 for step in at.values()):
            return
        time.sleep(0.5)
    raise AssertionError(f"{name} never had two trials well under way: {tables}")


def test_the_sweep_runs_on_both_hosts(cluster: Cluster) -> None:
    """The README's line, begun at once: the worker joins while the sweep runs, and gets work."""
    answer = cluster.hosts.client.run(cluster.line("sweep.grid"), timeout=600).stdout
    assert "held-out loss" in answer
    tables = cluster.tables(SWEEP)
    assert [row["status"] for row in tables["trials"]] == ["completed"] * TRIALS
    assert {row["hostname"] for row in tables["trials"]} == {"head", "worker"}
    assert len(losses(tables["steps"])) == TRIALS


def test_the_answer_is_fetched(cluster: Cluster) -> None:
    line = cluster.line("sweep.analysis")
    assert "held-out loss" in cluster.hosts.client.run(line).stdout
    assert json.loads(cluster.hosts.client.run(f"{line} --format json").stdout)


def test_the_same_line_again_finds_everything_done(cluster: Cluster) -> None:
    before = cluster.tables(SWEEP)
    cluster.hosts.client.run(cluster.line("sweep.grid"))
    assert cluster.tables(SWEEP) == before


def test_up_installs_the_project_on_every_node(cluster: Cluster) -> None:
    cluster.await_gpus(2)
    for host in (cluster.hosts.head, cluster.hosts.worker):
        code = "import sweep, sys; answer = [sweep.__file__, sys.prefix]"
        assert host.python(code)[0] == "/home/ubuntu/lora-rank-sweep/sweep/__init__.py"


def test_a_data_file_on_the_head_reaches_every_node(cluster: Cluster) -> None:
    rows = [{"instruction": f"add {n}", "input": "", "output": f"def f(x):\n    return x + {n}"} for n in range(40)]
    client = cluster.hosts.client
    client.run(f"cat > rows.jsonl <<'ROWS'\n{chr(10).join(map(json.dumps, rows))}\nROWS")
    client.run(".venv/bin/ray rsync-up cluster.yaml rows.jsonl lora-rank-sweep/rows.jsonl")
    line = cluster.line("sweep.grid").replace(SWEEP, OWN)
    client.run(line.replace("--address", "--dataset_name rows.jsonl --test_split_size 8 --max_steps 8 --address"))
    trials = cluster.tables(OWN)["trials"]
    assert [row["status"] for row in trials] == ["completed"] * TRIALS
    assert {row["hostname"] for row in trials} == {"head", "worker"}
    assert not cluster.hosts.worker.run("find /home /tmp -name rows.jsonl").stdout


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


def test_the_dashboard_comes_through_ssh(cluster: Cluster) -> None:
    client = cluster.hosts.client
    forward = client.start("exec timeout 120 .venv/bin/ray dashboard cluster.yaml")  # ends its ssh with itself
    reached = client.await_connection("127.0.0.1", DASHBOARD)
    client.run("pkill -x timeout")
    output, _ = forward.communicate(timeout=60)
    assert reached, output


def test_a_lost_node_costs_no_row_and_changes_no_number(cluster: Cluster) -> None:
    cluster.await_gpus(2)
    line = cluster.line("sweep.grid").replace(
        f"--name {SWEEP}", f"--name {DISTURBED} --save_strategy steps --save_steps 10"
    )
    sweep = cluster.hosts.client.start(line)
    await_mid_sweep(cluster, DISTURBED)
    (raylet,) = cluster.hosts.worker.processes("raylet")
    cluster.hosts.worker.run(f"kill -9 {raylet}")
    output, _ = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, output
    tables = cluster.tables(DISTURBED)
    assert [row["status"] for row in tables["trials"]] == ["completed"] * TRIALS
    # More than one on a slow machine: a worker outlives its raylet for moments, in which it may begin another trial.
    moved = [row["trial_id"] for row in tables["trials"] if row["attempts"] > 1]
    assert losses(tables["steps"]) == losses(cluster.tables(SWEEP)["steps"])
    again = {
        name: [row["step"] for row in tables["steps"] if (row["trial_id"], row["attempt"]) == (name, 2)]
        for name in moved
    }
    assert any(steps and steps[0] > 10 for steps in again.values())  # resumed from a checkpoint


def test_down_leaves_nothing_running(cluster: Cluster) -> None:
    cluster.down()
    assert cluster.hosts.head.await_end("gcs_server", "raylet")
    assert cluster.hosts.worker.await_end(
        "raylet"
    )  # nobody stops it, as a cloud would: it ends when it misses the head


def test_every_line_of_the_readmes_section_was_run(cluster: Cluster) -> None:
    assert set(cluster.ran) == set(cluster.lines)


def test_the_page_on_clusters_shows_the_same_lines(cluster: Cluster) -> None:
    page = shell_lines("docs/cluster.md", "Up, run, down") + shell_lines("docs/cluster.md", "The answer")
    assert page == cluster.lines
