"""Feeding a tracker's process: nobody waits for it, whatever it does. Its process is a real one, its tracker a toy."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.trackers import trackers
from sweep.trackers.trackers import Run, Trackers
from tests.wandb_files import runs
from trainables.training import integrations

RUN = Run("r2-s0", "one", "trial", {"lora_r": 2})


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a module in wandb's place."""

    def put(source: str) -> None:
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "wandb.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path / "toy"))

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return put


def made(tmp_path: Path, names: tuple[str, ...] = ("wandb",), earlier: tuple[Any, ...] = ()) -> Trackers:
    return Trackers(names, RUN, earlier, tmp_path, tmp_path / "scratch", tmp_path / "log")


def test_a_tracker_that_hangs_is_ended_and_it_is_said(
    tmp_path: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy("import time\ntime.sleep(10_000)\n")
    monkeypatch.setattr(trackers, "HOLD_S", 0.5)
    tracker = made(tmp_path)
    (feed,) = tracker._feeds
    process = feed._process
    for step in range(1, 20_000):
        tracker.log({"step": step, "loss": 1.0})
    tracker.finish({"status": "completed"})
    assert process is not None and process.returncode is not None
    assert (tmp_path / "log").read_text().splitlines() == [
        "wandb did not finish within 0.5 s and was killed; the trial's own files are complete without it."
    ]
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("source", ["raise RuntimeError('broken')", "import os\nos._exit(3)", "1/0", "init = 3"])
def test_a_tracker_that_fails_takes_nobody_along(source: str, tmp_path: Path, toy: Any) -> None:
    toy(source)
    tracker = made(tmp_path)
    tracker.log({"step": 1, "loss": 1.0})
    tracker.finish({"status": "completed"})
    assert not list((tmp_path / "scratch").iterdir())


def test_a_full_disk_ends_the_tracker_alone(tmp_path: Path, toy: Any) -> None:
    toy("import time\ntime.sleep(10_000)\n")
    tracker = made(tmp_path)
    (feed,) = tracker._feeds
    assert feed._file is not None
    feed._file.close()
    feed._file = open("/dev/full", "w", buffering=1)  # noqa: SIM115, PTH123  # the feed closes it
    for step in (1, 2, 3):
        tracker.log({"step": step, "loss": 1.0})
    tracker.finish({"status": "completed"})
    assert (tmp_path / "log").read_text().count("No space left on device") == 1


def test_a_process_that_cannot_be_started_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    tracker = made(tmp_path)
    tracker.log({"step": 1, "loss": 1.0})
    tracker.finish({"status": "completed"})
    assert "could not be started" in (tmp_path / "log").read_text()


def test_more_metrics_go_with_their_steps_those_from_before_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    tracker = made(tmp_path, earlier=({"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}))
    for step, loss in ((1, 9.0), (2, 9.0), (3, 1.0)):
        tracker.note(step, {"loss": loss, "entropy": step / 10, "step": step})
    tracker.note(3, {"eval_entropy": 0.7})
    tracker.log({"step": 3, "loss": 1.0, "eval_loss": 1.5, "attempt": 2, "peak_rss_bytes": 8})
    tracker.finish({"status": "completed", "train_loss": 2.0})
    (run,) = runs(tmp_path)
    shown = [{key: value for key, value in step.items() if key[0] != "_"} for step in run.steps]
    assert shown[0] == {"train/global_step": 1, "train/loss": 3.0, "train/entropy": 0.1}
    assert shown[1] == {"train/global_step": 2, "train/loss": 2.0, "train/entropy": 0.2}
    last = {"train/loss": 1.0, "train/entropy": 0.3, "eval/entropy": 0.7, "eval/loss": 1.5, "train/peak_rss_bytes": 8}
    assert shown[2] == {"train/global_step": 3, **last}
    assert run.summary["train_loss"] == 2.0 and "eval_loss" not in run.summary


WRITER = """
import os, signal, sys
from pathlib import Path
from sweep.trackers.trackers import Run, Trackers
folder = Path(sys.argv[1])
tracker = Trackers(["wandb"], Run("r2-s0", "one", "trial"), [], folder, folder / "scratch", folder / "log")
for step in range(1, 8):
    tracker.log({"step": step, "loss": float(step)})
print(tracker._feeds[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_when_the_trials_process_is_killed_its_run_is_finished_and_the_next_attempt_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True)
    psutil.wait_procs([psutil.Process(int(killed.stdout))] if psutil.pid_exists(int(killed.stdout)) else [])
    (first,) = runs(tmp_path)
    assert [step["_step"] for step in first.steps] == list(range(1, 8)) and first.exit_code == 1
    assert not list((tmp_path / "scratch").iterdir())
    other = Trackers(["wandb"], Run("r2-s0-other", "one", "trial"), [], tmp_path, tmp_path / "s2", tmp_path / "log")
    other.finish({"status": "completed"})
    again = made(tmp_path, earlier=tuple({"step": step, "loss": float(step)} for step in range(1, 5)))
    for step in range(5, 10):
        again.log({"step": step, "loss": step + 0.5})
    again.finish({"status": "completed"})
    second, _ = sorted(runs(tmp_path), key=lambda run: run.id)
    assert second.folder != first.folder and not first.folder.exists()
    assert [step["train/loss"] for step in second.steps] == [1.0, 2.0, 3.0, 4.0, 5.5, 6.5, 7.5, 8.5, 9.5]


def test_no_secret_and_no_other_process_reaches_a_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SERVICE", "somebody-elses")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("HF_TOKEN", "canary-hf-0123456789")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = trackers._environment(RUN, tmp_path, tmp_path / "scratch")
    assert "WANDB_SERVICE" not in found and found["WANDB_PROJECT"] == "mine"
    assert found["TMPDIR"] == str(tmp_path / "scratch")
    run = Run("r2-s0", "one", "trial", {"hub_token": "canary-hub-0123456789", "output": "canary-hf-0123456789"})
    tracker = Trackers(["wandb"], run, [], tmp_path, tmp_path / "scratch", tmp_path / "log")
    tracker.finish({"status": "failed", "error_message": "no canary-hf-0123456789"})
    written = b"".join(path.read_bytes() for path in (tmp_path / "wandb").rglob("*") if path.is_file())
    assert b"canary" not in written and str(tmp_path).encode() not in written


def test_without_trackers_nothing_is_started_and_nothing_imported() -> None:
    code = (
        "import sys; from sweep.trackers import trackers; from pathlib import Path; nothing = Path('/nonexistent');"
        "made = trackers.Trackers(trackers.managed('none'), trackers.Run('a', 'b', 'c'), [], nothing, nothing, nothing);"
        "made.note(1, {'a': 1}); made.log({'step': 1}); assert made.finish({}) == 0;"
        "assert not {'wandb', 'tensorboardX', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_which_trackers_are_ours() -> None:
    assert trackers.managed(["tensorboard", "mlflow", "wandb"]) == ["wandb", "tensorboard"]
    assert trackers.requested("mlflow") == ["mlflow"] and trackers.requested("none") == trackers.requested(None) == []
    assert trackers.managed("all") == ["wandb", "tensorboard"]


class Recorder:
    """Stands in for an integration of the trainer's."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("on_train_begin")

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append(json.dumps(kwargs["logs"]))

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("its server is gone")


def test_an_integration_of_the_trainers_hears_all_and_is_dropped_when_it_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Recorder()
    monkeypatch.setattr(integrations, "get_reporting_integration_callbacks", lambda names: [lambda: one])
    heard = integrations.Integrations(["mlflow"])
    heard.on_train_begin(None, None, None)
    heard.on_log(None, None, None, logs={"loss": 1})
    heard.on_save(None, None, None)
    heard.on_log(None, None, None, logs={"loss": 2})
    assert one.heard == ["on_train_begin", '{"loss": 1}']
    assert "mlflow failed, and receives nothing more of this trial: RuntimeError" in capsys.readouterr().err
