"""The lab and the cluster in it, brought up once for all tests that need them."""

import shutil
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab, lab

NEEDED = {
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "rsync": "rsync",
    "unshare": "util-linux",
    "pgrep": "procps",
}


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All hosts, with nothing running on them yet."""
    missing = {package for tool, package in NEEDED.items() if not shutil.which(tool)}
    assert not missing, f"The cluster's tests need root and: apt-get install -y {' '.join(sorted(missing))}"
    with lab(tmp_path_factory.mktemp("lab")) as up:
        yield up


@pytest.fixture(scope="session")
def cluster(hosts: Lab) -> Cluster:
    """A cluster on the hosts, brought up by the README's line. The last test takes it down."""
    it = Cluster(hosts)
    it.up()
    return it
