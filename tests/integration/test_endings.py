"""However a trial ends, its row says so, and keeps what was measured."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sweep.common.names import Resolve
from sweep.contract.trainable import Context
from sweep.grid import main
from sweep.run.aftermath import death, oom_kills
from sweep.space import Trial
from sweep.store.store import Row, Store
from tests.integration.test_sweep import words


class Mock:
    """Stands in for a training on a GPU that is too small: raises torch's own error where its micro-batch does not fit."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {
        "fits": (int, "largest micro-batch that the GPU has memory for"),
        "dies": (bool, "whether the process is killed a while after its third step"),
    }

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> Row:
        import torch

        micro, accumulation = (
            context.settings.get(key, default)
            for key, default in (("per_device_train_batch_size", 8), ("gradient_accumulation_steps", 1))
        )
        for step in range(context.resume_from.step + 1 if context.resume_from else 1, 4):
            context.report({"step": step, "loss": 1.0 / step, "peak_memory_allocated_bytes": 1000 * step})
            if step == 2:
                save(context, step)
        if context.settings.get("dies"):
            print("these were its last words", flush=True)
            time.sleep(4)  # rows are written every two seconds
            os.kill(os.getpid(), signal.SIGKILL)
        if micro > context.settings.get("fits", 8):
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {micro} GiB.")
        return {"train_loss": 0.5, "tokens": micro * accumulation}


class EndsEarlier(Mock):
    """Raises after ten steps; goes on from the fifth to the sixth, and ends there."""

    def run(self, context: Context) -> Row:
        begin, last = (context.resume_from.step, 6) if context.resume_from else (0, 10)
        losses = [row["loss"] for row in context.earlier]
        for step in range(begin + 1, last + 1):
            losses.append(1.0 / step)
            context.report({"step": step, "loss": losses[-1]})
            if step == 5:
                save(context, step)
        if begin == 0:
            raise RuntimeError("no more")
        return {"train_loss": sum(losses) / len(losses)}


def save(context: Context, step: int) -> None:
    (context.work_dir / "made").mkdir()
    context.save(context.work_dir / "made", step)


def run(store: str, *more: str, kind: str = "Mock") -> int:
    command = ["--trainable", f"{__name__}:{kind}", "--storage_path", store, "--name", "one", "--lora_r", "4"]
    return main([*command, *more])


def only_row(store: str) -> dict[str, Any]:
    (row,) = Store(f"{store}/one").trials().to_pylist()
    assert Store(f"{store}/one").steps().column("step").to_pylist() == [1, 2, 3]
    return dict(row)


@pytest.mark.usefixtures("ray_here")
def test_out_of_memory_is_recorded_with_the_peak_that_was_reached(store: str) -> None:
    assert run(store, "--fits", "4") == 1
    row = only_row(store)
    assert (row["status"], row["error_type"], row["attempts"]) == ("oom", "torch.OutOfMemoryError", 1)
    assert row["error_message"] == "CUDA out of memory. Tried to allocate 8 GiB."
    assert row["peak_memory_allocated_bytes"] == 3000 and row["micro_batch"] is None
    assert "in run" in Store(f"{store}/one").read_bytes(row["log"]).decode()
    assert run(store, "--fits", "4") == 1 and only_row(store)["attempts"] == 1  # the same again would end the same


@pytest.mark.usefixtures("ray_here")
def test_shrinking_halves_the_micro_batch_and_keeps_the_batch(store: str) -> None:
    assert run(store, "--fits", "4", "--on_oom", "shrink", "--gradient_accumulation_steps", "3") == 0
    row = only_row(store)
    assert (row["status"], row["micro_batch"], row["attempts"]) == ("completed", 4, 2)
    assert row["tokens"] == 8 * 3
    assert Store(f"{store}/one").steps().column("attempt").to_pylist() == [2, 2, 2], "from the first step on"
    assert "per_device_train_batch_size" not in json.loads(row["settings"])


@pytest.mark.usefixtures("ray_here")
def test_shrinking_is_tried_once_also_for_a_trial_that_an_earlier_command_left(store: str) -> None:
    chosen = ["--fits", "3", "--per_device_train_batch_size", "8"]
    assert run(store, *chosen) == 1
    for _ in range(2):
        assert run(store, *chosen, "--on_oom", "shrink") == 1
        row = only_row(store)
        assert (row["status"], row["micro_batch"], row["attempts"]) == ("oom", 4, 2)


@pytest.mark.usefixtures("ray_here")
def test_a_resumed_trials_steps_are_those_that_its_loss_covers(store: str) -> None:
    assert run(store, kind="EndsEarlier") == 1
    assert run(store, kind="EndsEarlier") == 0
    (row,) = Store(f"{store}/one").trials().to_pylist()
    steps = Store(f"{store}/one").steps().to_pandas()
    assert (row["status"], row["attempts"], row["steps"]) == ("completed", 2, 6)
    assert row["train_loss"] == steps.loss[:6].mean()
    assert steps.attempt.tolist() == [1] * 5 + [2] + [1] * 4, "what was measured beyond is not thrown away"


@pytest.mark.usefixtures("ray_here")
def test_a_process_that_was_killed_leaves_its_rows_and_its_log(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "--dies", "--max_failures", "0") == 1
    row = only_row(store)
    assert (row["status"], row["error_type"], row["attempts"]) == ("failed", "ProcessDied", 1)
    assert "died" in row["error_message"]
    assert "these were its last words" in Store(f"{store}/one").read_bytes(row["log"]).decode()
    assert row["log"] in capsys.readouterr().err


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_trial_is_restarted_as_often_as_was_asked_also_in_a_process_that_was_used_before(
    store: str, restarts: int
) -> None:
    command = ["--grid", "dies=false,true", "--max_concurrent_trials", "1", "--max_failures", str(restarts)]
    assert run(store, *command) == 1
    rows = Store(f"{store}/one").trials().to_pylist()
    assert {row["dies"]: (row["status"], row["attempts"]) for row in rows} == {
        False: ("completed", 1), True: ("failed", 1 + restarts),
    }  # fmt: skip


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(("fits", "code", "named"), [("4", 1, 1), ("8", 0, 0)])
def test_a_report_that_cannot_be_written_is_a_warning_beside_the_trials_endings(
    store: str, fits: str, code: int, named: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(store) / "one" / "report.html" / "in the way").mkdir(parents=True)
    assert run(store, "--fits", fits) == code
    said = capsys.readouterr().err
    assert said.count("warning: The report cannot be written") == 1
    assert said.count(": oom: CUDA out of memory") == named


@pytest.mark.usefixtures("ray_here")
def test_a_loss_that_is_no_number_is_the_end_and_its_step_is_kept(llama: str, rows_file: str, store: str) -> None:
    command = words(llama, rows_file, store, "--lora_r", "full", "--max_steps", "12", "--max_grad_norm", "0")
    assert main([*command, "--learning_rate", "1e30"]) == 1
    (row,) = Store(f"{store}/one").trials().to_pylist()
    steps = Store(f"{store}/one").steps().to_pandas()
    assert row["status"] == "diverged" and row["steps"] == len(steps) < 12
    assert steps.loss.notna().iloc[0] and not steps.loss.iloc[-1] < float("inf")


def test_a_process_that_ray_kills_for_host_memory_is_told_apart(store: str) -> None:
    """Ray is told that its machine is full when a hundredth of it is used."""
    command = ["--storage_path", store, "--name", "one", "--lora_r", "4", "--max_failures", "0"]
    command += ["--trainable", "trainables.synthetic:Synthetic", "--max_steps", "5000", "--step_time_s", "0.05"]
    full = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "sweep.grid", *command],
        env={**os.environ, **full},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    (row,) = Store(f"{store}/one").trials().to_pylist()
    assert (row["status"], row["error_type"]) == ("failed", "HostOutOfMemory")
    assert re.match(r"Ray killed its process, .* ran low on memory \(was \S+ used / \S+ limit\)", row["error_message"])
    assert "--max_concurrent_trials" in done.stderr


def test_a_process_that_the_kernel_kills_for_host_memory_is_told_apart(tmp_path: Path) -> None:
    plain, ray_says = "The actor died.", "was killed due to the node running low on memory"
    assert death(plain, False) == {"error_type": "ProcessDied", "error_message": plain}
    for text in (plain, ray_says):  # the kernel's word comes first
        killed = death(text, True)
        assert killed["error_type"] == "HostOutOfMemory" and "the kernel killed" in killed["error_message"]
    assert "Ray killed its process" in death(ray_says, False)["error_message"]
    assert death("ray.exceptions.OutOfMemoryError", False)["error_type"] == "HostOutOfMemory"
    counter = tmp_path / "vmstat"
    counter.write_text("pgfault 3\noom_kill 7\nother 1\n")
    older = tmp_path / "memory.oom_control"  # of control groups, version 1
    older.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills([counter, older, tmp_path / "none"]) == (7, 2, 0)
