"""A Ray cluster in the lab, driven by the shell lines that the README gives its readers."""

import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.lab import BUCKET, ROOT, Completed, Lab

# What stands for the reader's own, and for the model that the lab has no way to download.
OURS = {"BUCKET": BUCKET, "opt-350m-codealpaca": "demo"}


def shell_lines(page: str, heading: str) -> list[str]:
    """The commands in the shell blocks of one section of a Markdown file; a line ending in a backslash goes on."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert found, f"{page} has no section {heading!r}"
    blocks = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", found.group(1), re.S | re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+", " ", line).strip() for line in lines if line.strip() and not line.startswith("#")]


@dataclass
class Cluster:
    """Runs the README's lines on the client; remembers which were run."""

    hosts: Lab
    ran: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return shell_lines("README.md", "On a cluster")

    def line(self, word: str) -> str:
        """The README's line that holds a word, made ours; noted as run."""
        (found,) = [line for line in self.lines if word in line]
        self.ran.append(found)
        for theirs, ours in OURS.items():
            found = found.replace(theirs, ours)
        return found

    def up(self) -> None:
        self.hosts.client.run(".venv/bin/ray get-auth-token --generate")
        self.hosts.client.run(self.line("ray up"))

    def down(self) -> None:
        self.hosts.client.run(self.line("ray down"))

    def on_head(self, command: str, check: bool = True) -> Completed:
        """What a user's `ray exec` gives."""
        return self.hosts.client.run(f".venv/bin/ray exec cluster.yaml '{command}'", check=check)

    def start_on_head(self, command: str) -> subprocess.Popen[str]:
        return self.hosts.client.start(f".venv/bin/ray exec cluster.yaml '{command}'")

    def gpus(self) -> float:
        """GPUs of all nodes that are alive."""
        found = re.search(r"/([\d.]+) GPU", self.on_head("ray status").stdout)
        return float(found.group(1)) if found else 0.0

    def await_gpus(self, number: int) -> None:
        """Returns when the cluster has so many GPUs: a worker joins some time after `ray up` has returned."""
        for _ in range(60):
            if self.gpus() == number:
                return
            time.sleep(1)
        raise AssertionError(
            f"no {number} GPUs: {self.on_head('ray status; tail -n 40 /tmp/ray/session_latest/logs/monitor.*').stdout}"
        )

    def tables(self, name: str) -> dict[str, Any]:
        """Trial and step rows of a sweep, read on the client from the bucket."""
        code = (
            f"from sweep.store.store import Store; store = Store('s3://{BUCKET}/sweeps/{name}')\n"
            "answer = {'trials': store.trials().drop_columns(['started_at', 'ended_at']).to_pylist(), "
            "'steps': store.steps().select(['trial_id', 'attempt', 'step', 'loss']).to_pylist()}"
        )
        tables: dict[str, Any] = self.hosts.client.python(code)
        return tables
