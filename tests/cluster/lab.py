"""Hosts for a Ray cluster on one machine: network namespaces on one bridge that leads nowhere else.

    cloud   10.77.0.1   the bridge, and an S3 server (moto's) where a cloud would have its own
    head    10.77.0.2   sshd
    worker  10.77.0.3   sshd
    client  10.77.0.4   the user's machine: this checkout, with cluster.yaml derived for the lab

Each host has its own mount, PID and UTS namespace too, its own /home, /tmp, /run and /dev/shm. No namespace has a name,
every host ends with its first process, and that one ends with us: nothing is left behind however a test ends.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.derive import derive
from tests.cluster.host import Spec

ROOT = Path(__file__).parents[2]
HOME = "/home/ubuntu"
CHECKOUT = f"{HOME}/checkout"  # on the client
PROJECT = f"{HOME}/lora-rank-sweep"  # on the nodes, as cluster.yaml has it
ADDRESS = {"cloud": "10.77.0.1", "head": "10.77.0.2", "worker": "10.77.0.3", "client": "10.77.0.4"}
S3 = f"http://{ADDRESS['cloud']}:5000"
BUCKET = "results"
SSHD = "/usr/sbin/sshd -D -e -f /dev/null -h {key} -o Port=22 -o PidFile=none -o UsePAM=no -o PermitRootLogin=yes"
_NAMESPACES = ("mnt", "net", "pid", "uts")

Completed = subprocess.CompletedProcess[str]


def _environment() -> dict[str, str]:
    """What every shell in the lab starts with: our Python, our cloud, no index to install from."""
    return {
        "HOME": HOME,
        "USER": "ubuntu",
        "LANG": "C.UTF-8",
        "PATH": f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "AWS_ENDPOINT_URL": S3,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the negated option: 0 is "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@dataclass
class Host:
    """A running host, and how to run something in it."""

    name: str
    process: subprocess.Popen[str]
    pid: int  # of its first process, seen from outside
    environment: dict[str, str] = field(default_factory=_environment)

    @property
    def address(self) -> str:
        return ADDRESS[self.name]

    def command(self, shell: str) -> list[str]:
        """The command line that runs a shell line in this host."""
        flags = ["--mount", "--net", "--pid", "--uts"]
        variables = [f"{key}={value}" for key, value in self.environment.items()]
        place = CHECKOUT if self.name == "client" else HOME
        inside = ["env", "-i", *variables, "bash", "-c", f"cd {place} && {shell}"]
        return ["nsenter", "--target", str(self.pid), *flags, "--", *inside]

    def run(self, shell: str, check: bool = True, timeout: float = 300) -> Completed:
        """Runs a shell line to its end; a failure shows what it printed."""
        done = subprocess.run(self.command(shell), capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{self.name}$ {shell}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, shell: str) -> subprocess.Popen[str]:
        """Starts a shell line; its two outputs come as one."""
        return subprocess.Popen(self.command(shell), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def python(self, code: str) -> Any:
        """Runs Python on the host; what it leaves in `answer`, by way of JSON."""
        program = f"import json\n{code}\nprint()\nprint(json.dumps(answer))"
        shell = f"{sys.prefix}/bin/python - <<'PROGRAM'\n{program}\nPROGRAM"
        return json.loads(self.run(shell).stdout.splitlines()[-1])

    def connects(self, address: str, port: int) -> bool:
        """Whether something there takes a connection from this host."""
        return self.run(f"exec 3<>/dev/tcp/{address}/{port}", check=False, timeout=60).returncode == 0

    def await_connection(self, address: str, port: int) -> bool:
        """Waits until a connection is taken; False if none is."""
        for _ in range(60):
            if self.connects(address, port):
                return True
            time.sleep(0.5)
        return False

    def processes(self, name: str) -> list[int]:
        """Ids, inside the host, of its processes of some name."""
        return [int(pid) for pid in self.run(f"pgrep -x {name} || true").stdout.split()]

    def await_end(self, *names: str) -> bool:
        """Waits for all processes of some names to end; False if they do not."""
        for _ in range(120):
            if not any(self.processes(name) for name in names):
                return True
            time.sleep(1)
        return False


@dataclass(frozen=True)
class Lab:
    """All hosts."""

    cloud: Host
    head: Host
    worker: Host
    client: Host

    def namespaces(self) -> set[str]:
        """Names of all namespaces that the hosts have to themselves."""
        hosts = (self.cloud, self.head, self.worker, self.client)
        return {name for host in hosts for name in _namespaces(Path(f"/proc/{host.pid}"))}


def _namespaces(process: Path) -> set[str]:
    return {str((process / "ns" / kind).readlink()) for kind in _NAMESPACES}


def processes_in(namespaces: set[str]) -> list[int]:
    """Every process of this machine that lives in one of some namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                own = _namespaces(entry)
            except OSError:  # it ended meanwhile
                continue
            if own & namespaces:
                found.append(int(entry.name))
    return found


def _system_files() -> dict[str, str]:
    """What the hosts' system says about users and names. `ubuntu` is root here, so sudo would be needless."""
    names = "\n".join(f"{address} {name}" for name, address in ADDRESS.items())
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("ubuntu:")]
    return {
        "/etc/passwd": "\n".join([f"ubuntu:x:0:0::{HOME}:/bin/bash", *others, ""]),
        "/etc/hosts": f"127.0.0.1 localhost\n{names}\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\n",  # refused at once: no name leaves the lab
    }


def _spec(name: str, keys: Path) -> Spec:
    """Layout of one host."""
    exports = "".join(f"export {key}={value!r}\n" for key, value in _environment().items())
    files = {**_system_files(), f"{HOME}/.bashrc": exports}
    overlays: dict[str, str] = {}
    binds: dict[str, str] = {}
    command = SSHD.format(key=keys / "host").split()
    if name in ("head", "worker"):  # the environment that cluster.yaml's pip finds complete; its changes stay in here
        files[f"{HOME}/.ssh/authorized_keys"] = (keys / "id.pub").read_text()
        overlays[f"{PROJECT}/.venv"] = sys.prefix
        binds[sys.prefix] = f"{PROJECT}/.venv"
    elif name == "client":
        files[f"{HOME}/.ssh/id"] = (keys / "id").read_text()
        files[f"{HOME}/aws.yaml"] = (ROOT / "cluster.yaml").read_text()
        derived = derive(yaml.safe_load(files[f"{HOME}/aws.yaml"]), ADDRESS["head"], [ADDRESS["worker"]])
        files[f"{CHECKOUT}/cluster.yaml"] = yaml.safe_dump(derived, sort_keys=False)
        overlays[CHECKOUT] = str(ROOT)
        binds[f"{CHECKOUT}/.venv"] = sys.prefix
        command = ["/usr/bin/sleep", "infinity"]
    else:
        command = [f"{sys.prefix}/bin/python", "-m", "moto.server", "--host", ADDRESS[name], "--port", "5000"]
    keep = [sys.prefix, sys.base_prefix, str(ROOT), str(keys)]
    return Spec(name, keep, overlays, binds, files, _environment(), command)


def _start(name: str, folder: Path) -> Host:
    """Starts a host's first process; returns when its file system is laid out."""
    spec = json.dumps(asdict(_spec(name, folder)))
    flags = ["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    python = [f"{sys.base_prefix}/bin/python3", str(Path(__file__).with_name("host.py")), spec]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, *python],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"host {name} did not start: {(folder / f'{name}.log').read_text()}")
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return Host(name, process, int(pid))


def _stop(host: Host) -> None:
    """Ends a host with all its processes, and waits until they are gone."""
    host.process.kill()  # its child, the first process of the PID namespace, gets SIGKILL with it, and all others by that
    host.process.wait()
    if host.process.stdout:
        host.process.stdout.close()


def _ip(*arguments: str, inside: Host | None = None) -> None:
    there = ["nsenter", "--target", str(inside.pid), "--net"] if inside else []
    subprocess.run([*there, "ip", *arguments], check=True)


def _connect(host: Host, cloud: Host) -> None:
    """Puts a host on the bridge."""
    cable, plug = f"v-{host.name}", f"p-{host.name}"
    _ip("link", "add", cable, "netns", str(host.pid), "type", "veth", "peer", "name", plug, "netns", str(cloud.pid))
    _ip("link", "set", plug, "master", "br0", "up", inside=cloud)
    _ip("addr", "add", f"{host.address}/24", "dev", cable, inside=host)
    _ip("link", "set", cable, "up", inside=host)
    _ip("link", "set", "lo", "up", inside=host)
    _ip("route", "add", "default", "dev", cable, inside=host)  # without one Ray takes 127.0.0.1 for its address


def _bridge(cloud: Host) -> None:
    _ip("link", "add", "br0", "type", "bridge", inside=cloud)
    _ip("addr", "add", f"{cloud.address}/24", "dev", "br0", inside=cloud)
    _ip("link", "set", "br0", "up", inside=cloud)
    _ip("link", "set", "lo", "up", inside=cloud)


def _await_storage(client: Host) -> None:
    """Waits for the S3 server and makes the bucket."""
    make = f"import boto3; boto3.client('s3').create_bucket(Bucket='{BUCKET}'); answer = True"
    assert client.await_connection(ADDRESS["cloud"], 5000)
    assert client.python(make)


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Brings all hosts up, and down again whatever happens; keys and logs go to `folder`."""
    for key in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    with ExitStack() as stack:
        hosts = {}
        for name in ADDRESS:
            hosts[name] = host = _start(name, folder)
            stack.callback(_stop, host)
        _bridge(hosts["cloud"])
        for name in ("head", "worker", "client"):
            _connect(hosts[name], hosts["cloud"])
        _await_storage(hosts["client"])
        yield Lab(**hosts)
