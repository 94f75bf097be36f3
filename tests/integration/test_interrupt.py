"""Ctrl-C in the middle: rows are left, and the same command goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.chaos import children, outliving
from sweep.store.store import Store


def command(store: str) -> list[str]:
    chosen = [
        "--trainable",
        "trainables.synthetic:Synthetic",
        "--max_steps",
        "60",
        "--step_time_s",
        "0.05",
        "--lora_r",
        "2",
        "4",
        "8",
    ]
    return [sys.executable, "-m", "sweep.grid", "--storage_path", store, "--name", "one", *chosen]


def test_an_interrupted_sweep_leaves_rows_and_goes_on(store: str) -> None:
    place = Store(f"{store}/one")
    running = subprocess.Popen(command(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and place.steps().num_rows < 5:
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "Run the same command to resume" in said and "Traceback" not in said
    statuses = place.trials().column("status").to_pylist()
    assert "interrupted" in statuses
    for row in place.trials().to_pylist():
        if row["status"] == "interrupted":  # what was measured until then is there
            assert row["steps"] and row["train_loss"] and row["hostname"] and row["log"] and row["provenance"]
    assert not list(Path(store).rglob("*.tmp"))
    done = subprocess.run(command(store), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert place.trials().column("status").to_pylist() == ["completed"] * 3
    frame = place.steps().to_pandas()
    assert all(group.step.tolist() == list(range(1, 61)) for _, group in frame.groupby("trial_id"))


def test_sigterm_while_ray_starts_is_an_interrupt(store: str) -> None:
    with subprocess.Popen(command(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starting:
        deadline = time.monotonic() + 120
        while not any(child.name() == "raylet" for child in children(starting.pid)):
            assert time.monotonic() < deadline and starting.poll() is None
            time.sleep(0.02)
        left = children(starting.pid)
        starting.terminate()
        _, said = starting.communicate(timeout=120)
    assert starting.returncode == 130, said
    assert said.endswith("Interrupted. Run the same command to resume.\n") and "Traceback" not in said
    assert not Path(store, "one", "lock.json").exists()
    assert not outliving(left, timeout=90)
