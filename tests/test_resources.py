"""What a trial gets, by the nodes that Ray has: a stand-in says which those are."""

from pathlib import Path
from typing import Any

import pytest
import ray

from sweep.config import machine
from sweep.config.layers import resolve
from sweep.config.sweep_config import SweepConfig
from sweep.errors import ConfigError
from sweep.live.state import Devices
from sweep.run import runner
from trainables.sft import SFT

CPU_NODE = {"Alive": True, "Resources": {"CPU": 4.0}}
GPU_NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}}
GONE = {**GPU_NODE, "Alive": False}


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def settings(*words: str) -> SweepConfig:
    found, complaints = resolve(["--preset", "demo", *words], False)
    assert found is not None and not complaints
    return found


@pytest.mark.parametrize(
    ("nodes", "words", "gpus"),
    [
        ([CPU_NODE], [], 0),
        ([CPU_NODE, GPU_NODE], [], 1),
        ([CPU_NODE, GPU_NODE], ["--gpus_per_trial", "0"], 0),
        ([CPU_NODE, GPU_NODE], ["--gpus_per_trial", "0.5"], 0.5),
        ([CPU_NODE, GPU_NODE], ["--address", "auto"], 1),
        ([CPU_NODE], ["--address", "auto", "--gpus_per_trial", "1"], 1),
        ([CPU_NODE], ["--address", "auto", "--gpus_per_trial", "0"], 0),
        ([CPU_NODE], ["--address", "local"], 0),
    ],
)
def test_a_trials_gpus(nodes: list[Any], words: list[str], gpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert runner.connect(settings(*words)).gpus == gpus


@pytest.mark.parametrize(
    ("nodes", "words", "devices"),
    [
        ([CPU_NODE], [], Devices("slots", 4, 1, 4)),
        ([CPU_NODE, CPU_NODE], ["--cpus_per_trial", "2"], Devices("slots", 4, 1, 4)),
        ([CPU_NODE], ["--max_concurrent_trials", "2"], Devices("slots", 2, 1, 2)),
        ([CPU_NODE, GPU_NODE, GONE], [], Devices("GPUs", 2, 1, 2)),
        ([GPU_NODE], ["--gpus_per_trial", "0.5"], Devices("GPUs", 2, 0.5, 4)),
        ([GPU_NODE, GPU_NODE], ["--max_concurrent_trials", "1"], Devices("GPUs", 4, 1, 1)),
        ([GPU_NODE], ["--gpus_per_trial", "0"], Devices("slots", 4, 1, 4)),
    ],
)
def test_what_trials_run_on_now(
    nodes: list[Any], words: list[str], devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    config = settings(*words)
    assert runner.devices(config, runner.connect(config)) == devices


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_on_a_cluster_without_a_gpu_node_yet_the_gpus_have_to_be_said(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else trials would run on the CPUs of the first GPU machines to come."""
    monkeypatch.setattr(ray, "nodes", lambda: [CPU_NODE, GONE])
    if how == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ConfigError) as error:
        runner.connect(settings(*(["--address", "auto"] if how == "flag" else [])))
    (said,) = error.value.complaints
    for part in (
        "--gpus_per_trial is missing",
        "at auto",
        "--gpus_per_trial 1 to wait",
        "--gpus_per_trial 0 to train on the CPU",
    ):
        assert part in str(said)


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_rays_own_local_is_this_machine_which_has_to_have_the_gpus(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else trials would wait for a GPU for good."""
    words = ["--gpus_per_trial", "1", "--storage_path", str(tmp_path)]
    if how == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "local")
    config = settings(*words, *(["--address", "local"] if how == "flag" else []))
    (said,) = machine.check(config, devices=0)
    assert str(said).startswith("--gpus_per_trial 1: this machine has 0 GPUs")
    assert machine.as_told(config, devices=0).here and machine.check(config, devices=1) == []


def complaints(*words: str) -> list[str]:
    """On a machine with eight GPUs."""
    config = settings(*words)
    return [*map(str, SFT().check_machine(config.trials(), machine.as_told(config, devices=8)))]


@pytest.mark.parametrize("where", [[], ["--address", "auto"]])
def test_without_a_gpu_a_trial_cannot_have_a_precision_that_needs_one(where: list[str]) -> None:
    """Whatever GPUs the machine has."""
    words = ["--gpus_per_trial", "0", "--bf16", *where]
    (said,) = complaints(*words)
    assert said.startswith("--bf16: --gpus_per_trial 0 trains on the CPU. Add --no_bf16")
    assert complaints(*words, "--use_cpu") == []
