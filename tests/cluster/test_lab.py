"""The lab itself: what it derives, that its hosts are apart, and that it leaves nothing behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.derive import GPU, derive
from tests.cluster.lab import ADDRESS, ROOT, Lab, processes_in


def test_what_the_lab_changes_in_cluster_yaml() -> None:
    """Only the provider, the addresses, and what a box without GPU and without a cloud forces."""
    theirs = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    ours = derive(theirs, "10.77.0.2", ["10.77.0.3"])
    changed = {key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)}
    assert changed == {
        "provider",
        "auth",
        "available_node_types",
        "head_node_type",
        "min_workers",
        "head_start_ray_commands",
        "worker_start_ray_commands",
    }
    assert {**ours["auth"], "ssh_private_key": None} == {**theirs["auth"], "ssh_private_key": None}
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert [line.removesuffix(GPU) for line in ours[key]] == theirs[key]


@pytest.mark.cluster
def test_hosts_share_no_place(hosts: Lab) -> None:
    for place in ("/tmp", "/dev/shm", "/home/ubuntu"):
        hosts.head.run(f"touch {place}/from-head")
        assert hosts.worker.run(f"ls {place}").stdout.split().count("from-head") == 0
        assert not Path(place, "from-head").exists()
    assert hosts.head.run("hostname").stdout == "head\n"
    assert hosts.worker.run("hostname").stdout == "worker\n"


@pytest.mark.cluster
def test_hosts_see_each_other_and_nothing_else(hosts: Lab) -> None:
    addresses = hosts.head.run("ip -brief -4 addr").stdout
    assert ADDRESS["head"] in addresses
    assert len(addresses.splitlines()) == 2  # loopback and the cable to the bridge
    assert "SSH-2.0" in hosts.worker.run("exec 3<>/dev/tcp/head/22 && head -1 <&3").stdout
    assert not hosts.worker.connects("192.0.2.1", 80)


BREAKS = {
    "exception": "raise RuntimeError('a test fails')",
    "killed": "os.kill(os.getpid(), 9)",
}
PROGRAM = """
import os, sys
from pathlib import Path
from tests.cluster.lab import lab
with lab(Path(sys.argv[1])) as up:
    up.head.start("setsid sleep 1000")
    up.worker.run("mkdir -p /tmp/x && touch /tmp/x/y")
    print(*up.namespaces(), flush=True)
    {ending}
"""


def _mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def _links() -> str:
    return subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout


@pytest.mark.cluster
@pytest.mark.parametrize("ending", BREAKS)
def test_nothing_is_left_when_a_test_breaks(ending: str, tmp_path: Path) -> None:
    before = _mounts(), _links()
    program = [sys.executable, "-c", PROGRAM.format(ending=BREAKS[ending]), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode != 0
    namespaces = set(done.stdout.split())
    assert len(namespaces) == 16, done.stderr  # four of each host
    for _ in range(100):  # the kernel ends what was killed in its own time
        if not processes_in(namespaces):
            break
        time.sleep(0.1)
    assert processes_in(namespaces) == []
    assert (_mounts(), _links()) == before
