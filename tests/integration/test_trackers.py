"""What W&B and TensorBoard get of a sweep: each trial as a run of its own, equal to its Parquet files."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sweep.contract.trainable import Context
from sweep.grid import main
from sweep.store.columns import STEPS
from sweep.store.store import Row, Store
from tests.integration.test_sweep import words
from tests.wandb_files import OfflineRun, runs
from trainables.sft import SFT

METRICS = [column.name for column in STEPS if column.name not in ("trial_id", "attempt", "step", "timestamp")]
KNOWN_AT_ITS_END = {"checkpoint", "log"}  # where the store then has them
FROM_TRL = {"train/entropy", "train/mean_token_accuracy", "train/num_tokens"}


def tag(column: str) -> str:
    return "eval/loss" if column == "eval_loss" else f"train/{column}"


def parquet(store: Store, trial_id: str) -> list[Row]:
    return sorted(store.steps(trial_id).to_pylist(), key=lambda row: row["step"])


def assert_equal(run: OfflineRun, store: Store) -> None:
    """The run has the trial's steps, each once, in order, every number the same; and its row as the summary."""
    rows = parquet(store, run.id)
    assert [step["train/global_step"] for step in run.steps] == [row["step"] for row in rows]
    for step, row in zip(run.steps, rows, strict=True):
        assert {tag(name): step.get(tag(name)) for name in METRICS} == {tag(name): row[name] for name in METRICS}
        assert step["train/peak_rss_bytes"] > 0 and step["_step"] == row["step"]
    (row,) = [row for row in store.trials().to_pylist() if row["trial_id"] == run.id]
    for name, value in row.items():
        if value is not None and name not in KNOWN_AT_ITS_END:
            shown = str(value) if isinstance(value, datetime) else value
            assert run.summary[name] == shown, name


def tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each scalar, as TensorBoard itself reads a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


def assert_tensorboard_equal(folder: Path, rows: list[Row]) -> None:
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    found = tensorboard(folder)
    for name in METRICS:
        wanted = [(row["step"], row[name]) for row in rows if row[name] is not None]
        assert [step for step, _ in found.get(tag(name), [])] == [step for step, _ in wanted]
        for (_, value), (_, measured) in zip(found.get(tag(name), []), wanted, strict=True):
            assert math.isclose(value, measured, rel_tol=1e-6)  # TensorBoard keeps 32 bits


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("steps", [6, 12])
def test_each_trial_is_a_run_of_its_own_and_equal_to_parquet(steps: int, store: str) -> None:
    """On two slots: the processes of the first two trials are used again for the other two."""
    chosen = ["--preset", "demo", "--lora_r", "2", "8", "--seeds", "0", "1", "--max_steps", str(steps)]
    chosen += ["--test_split_size", "40"]
    more = ["--eval_strategy", "steps", "--eval_steps", "5"] if steps == 12 else []
    assert main([*chosen, *more, "--report_to", "wandb", "tensorboard", "--name", "one", "--storage_path", store]) == 0
    place, folder = Store(f"{store}/one"), Path(store, "one")
    assert sorted(place.trials().column("process_reused").to_pylist()) == [False, False, True, True]
    *trials, answer = sorted(runs(folder), key=lambda run: run.id == "one-answer")
    assert len(trials) == 4 and {run.id for run in trials} == place.trial_names()
    for run in trials:
        assert (run.group, run.name, run.exit_code) == ("one", run.id, 0)
        assert run.config["lora_r"] in (2, 8) and run.config["seed"] in (0, 1)
        assert run.steps[0].keys() >= FROM_TRL and len(run.steps) == steps
        assert_equal(run, place)
        assert_tensorboard_equal(folder / "tensorboard" / run.id, parquet(place, run.id))
    assert {one.name for one in (folder / "tensorboard").iterdir()} == place.trial_names()
    assert_answers(answer, store)


def assert_answers(run: OfflineRun, store: str) -> None:
    from sweep import analysis

    found = analysis.answer(analysis.load(f"{store}/one"))
    assert (run.id, run.group, run.exit_code) == ("one-answer", "one", 0)
    assert found.recommendation is not None
    assert run.summary["recommendation"] == found.recommendation.label
    assert run.summary["answer"] == found.recommendation.text
    table = json.loads((run.folder / "files" / run.summary["comparison/path"]).read_text())
    losses = table["columns"].index("eval_loss")
    assert [row[losses] for row in table["data"]] == [one.results["eval_loss"] for one in found.configurations]


class Killed(SFT):
    """Its first attempt dies after the seventh step, when a checkpoint and its rows are in the store."""

    def run(self, context: Context) -> Row:
        report = context.report

        def dying(row: Row) -> None:
            report(row)
            if row["step"] == 7 and context.resume_from is None:
                time.sleep(4)  # rows are written every two seconds
                os.kill(os.getpid(), signal.SIGKILL)

        context.report = dying
        return super().run(context)


@pytest.mark.usefixtures("ray_here")
def test_after_a_kill_a_run_has_each_step_once(llama: str, rows_file: str, store: str) -> None:
    command = words(llama, rows_file, store, "--lora_r", "4", "--max_steps", "12", "--save_steps", "3")
    command += ["--save_strategy", "steps", "--trainable", f"{__name__}:Killed", "--report_to", "wandb", "tensorboard"]
    assert main(command) == 0
    place = Store(f"{store}/one")
    (row,) = place.trials().to_pylist()
    steps = parquet(place, row["trial_id"])
    assert row["attempts"] == 2 and [one["attempt"] for one in steps] == [1] * 6 + [2] * 6  # step 7 was made twice
    (run,) = [run for run in runs(Path(store, "one")) if run.id == row["trial_id"]]
    assert_equal(run, place)
    assert all(step.keys() >= FROM_TRL for step in run.steps)
    assert_tensorboard_equal(Path(store, "one", "tensorboard", run.id), steps)


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def synthetic(store: str, tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A sweep of two trials, run as a user does, with a folder of its own for temporary files."""
    command = [sys.executable, "-m", "sweep.grid", "--trainable", "trainables.synthetic:Synthetic", "--max_steps", "9"]
    command += ["--lora_r", "2", "4", "--name", "one", "--storage_path", store, "--report_to", "wandb", "tensorboard"]
    (tmp_path / "tmp").mkdir()
    mine = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "RAY_TMPDIR": "/tmp", **environment}
    return subprocess.run(command, env=mine, capture_output=True, text=True, timeout=300)


def assert_trials_are_whole(done: "subprocess.CompletedProcess[str]", store: str, tmp_path: Path) -> list[str]:
    """Both trials completed, with TensorBoard's files, and nothing stays behind; returns their logs."""
    place = Store(f"{store}/one")
    assert done.returncode == 0, done.stderr
    assert place.trials().column("status").to_pylist() == ["completed"] * 2
    for trial_id in place.trial_names():
        assert_tensorboard_equal(Path(store, "one", "tensorboard", trial_id), parquet(place, trial_id))
    assert not list((tmp_path / "tmp").iterdir())
    return [place.read_log(trial_id) for trial_id in sorted(place.trial_names())]


def test_a_server_that_never_answers_stops_nothing_and_the_runs_are_kept(
    store: str, tmp_path: Path, hanging_server: str
) -> None:
    mine = {"WANDB_BASE_URL": hanging_server, "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "2"}
    done = synthetic(store, tmp_path, **mine)
    logs = assert_trials_are_whole(done, store, tmp_path)
    assert all("W&B cannot be reached, so the run is kept on disk" in text for text in logs)
    assert "W&B cannot be reached, so the run is kept on disk" in done.stderr  # the answer's
    place, found = Store(f"{store}/one"), runs(Path(store, "one"))
    assert {run.id for run in found} == {*place.trial_names(), "one-answer"}
    for run in found:
        if run.id != "one-answer":
            assert [step["train/loss"] for step in run.steps] == [row["loss"] for row in parquet(place, run.id)]
    folders = [one for one in Path(store, "one", "wandb").iterdir() if one.is_dir() and not one.is_symlink()]
    assert len(folders) == 3  # what was begun for the server is gone


def test_a_tracker_that_raises_stops_nothing(store: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "wandb.py").write_text("run = None\ndef init(**more):\n    raise RuntimeError('it is broken')\n")
    done = synthetic(store, tmp_path, PYTHONPATH=str(broken), WANDB_MODE="offline")
    logs = assert_trials_are_whole(done, store, tmp_path)
    assert all("wandb failed, and receives nothing more of this run: RuntimeError: it is broken" in one for one in logs)


def test_values_are_said_as_json_says_them(tmp_path: Path) -> None:
    """A loss that is no number is a step's like any other."""
    from sweep.trackers.trackers import Run, Trackers

    trackers = Trackers(["wandb"], Run("nan", "one", "trial"), [], tmp_path, tmp_path / "scratch", tmp_path / "log")
    for step, loss in ((1, 0.5), (2, math.nan), (3, math.inf)):
        trackers.log({"step": step, "loss": loss})
    trackers.finish({"status": "diverged"})
    (run,) = runs(tmp_path)
    shown: list[Any] = [step["train/loss"] for step in run.steps]
    assert shown[0] == 0.5 and len(shown) == 3 and run.exit_code == 1
