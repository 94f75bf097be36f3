"""Ray Tune's part, with trainables that only look around."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from sweep import load
from sweep.common.names import Resolve
from sweep.contract.trainable import Context
from sweep.grid import main
from sweep.live.state import Devices
from sweep.run.progress import Progress
from sweep.space import Trial
from sweep.store.store import Row, Store

HERE = "tests.integration.test_runner"


class Probe:
    """Notes which devices a trial sees, and waits until as many trials as are expected at once are there."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {
        "notes": (str, "folder for the notes"),
        "together": (int, "trials that are expected at once"),
    }
    LOSS_UNIT = "nats/probe"

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> Row:
        folder = Path(context.settings["notes"])
        here = folder / f"{context.trial_id}.here"
        here.touch()
        most, deadline = 0, time.monotonic() + 120
        while most < context.settings["together"] and time.monotonic() < deadline:
            most = max(most, len(list(folder.glob("*.here"))))
            time.sleep(0.05)
        time.sleep(0.5)  # the others look once more before this one leaves
        most = max(most, len(list(folder.glob("*.here"))))
        here.unlink()
        note = {"devices": os.environ.get("CUDA_VISIBLE_DEVICES"), "most": most}
        (folder / f"{context.trial_id}.json").write_text(json.dumps(note))
        return {}


def probed(store: str, notes: Path, together: int, *more: str) -> list[dict[str, Any]]:
    command = ["--trainable", f"{HERE}:Probe", "--notes", str(notes), "--storage_path", store, "--name", "one"]
    assert main([*command, "--lora_r", "1", "2", "3", "4", "--together", str(together), *more]) == 0
    found = [json.loads(file.read_text()) for file in notes.glob("*.json")]
    assert len(found) == 4
    return found


def synthetic(store: str, *more: str) -> list[str]:
    chosen = ["--trainable", "trainables.synthetic:Synthetic", "--max_steps", "30"]
    return ["--storage_path", store, "--name", "one", *chosen, *more]


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_four_one_gpu_trials_run_two_at_a_time_and_each_sees_one_device(store: str, tmp_path: Path) -> None:
    """The GPUs are declared to Ray, not there."""
    notes = probed(store, tmp_path, 2)
    assert sorted(note["devices"] for note in notes) == ["0", "0", "1", "1"]
    assert {note["most"] for note in notes} == {2}
    assert Store(f"{store}/one").read_sweep()["loss_unit"] == "nats/probe"


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_half_a_gpu_lets_two_trials_share_it(store: str, tmp_path: Path) -> None:
    notes = probed(store, tmp_path, 4, "--gpus_per_trial", "0.5", "--address", "auto")
    assert {note["most"] for note in notes} == {4}
    assert {row["gpus_per_trial"] for row in Store(f"{store}/one").trials().to_pylist()} == {0.5}


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_trials_without_a_gpu_see_none(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ray would let each of them see both. What they see is the environment's word: no GPU is there."""
    notes = probed(store, tmp_path, 4, "--gpus_per_trial", "0")
    assert {note["devices"] for note in notes} == {""}
    assert {row["gpus_per_trial"] for row in Store(f"{store}/one").trials().to_pylist()} == {0.0}
    assert "shared GPUs" not in capsys.readouterr().out


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_one_failing_trial_does_not_stop_the_others_and_leaves_its_row(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but the answer, warnings and errors is said, since that was asked for."""
    assert main(synthetic(store, "--lora_r", "4", "--seeds", "0", "1", "--grid", "fail_at=7,none", "--quiet")) == 1
    said = capsys.readouterr()
    rows = Store(f"{store}/one").trials().to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["status"] for row in rows].count("completed") == 2 and len(failed) == 2
    for row in failed:
        assert (
            row["error_type"] == "RuntimeError"
            and row["error_message"] == "asked to fail at step 7"
            and row["steps"] == 7
        )
        assert "asked to fail" in Store(f"{store}/one").read_bytes(row["log"]).decode()
        assert f"{row['trial_id']}: failed: asked to fail at step 7" in said.err and row["log"] in said.err
    assert {line.partition(":")[0] for line in said.err.splitlines()} == {row["trial_id"] for row in failed}
    assert "r=4" in said.out


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_tunes_own_analysis_opens_what_was_written(store: str) -> None:
    from ray import tune

    from sweep.trial.tune_trial import TuneTrial

    assert main(synthetic(store, "--lora_r", "4", "64")) == 0
    (run,) = (Path(store) / "one" / "tune").iterdir()
    results = tune.Tuner.restore(str(run), trainable=TuneTrial).get_results()
    assert len(results) == 2 and results.num_errors == 0
    best = results.get_best_result(metric="eval_loss", mode="min")
    assert best.config["trial"]["lora_r"] == 64
    assert best.checkpoint is None and (Path(store) / "one" / best.metrics["checkpoint"] / "state.json").exists()
    frame = best.metrics_dataframe
    assert frame is not None and frame.step.max() == 30
    assert_same(load(f"{store}/one").result_grid(), results)
    assert main(synthetic(store, "--lora_r", "4", "64", "128")) == 0
    both = load(f"{store}/one").result_grid()
    assert sorted(result.config["trial"]["lora_r"] for result in both) == [4, 64, 128]
    assert len({Path(result.path).parent for result in both}) == 2 and not both.errors


def assert_same(ours: Any, tunes: Any) -> None:
    """Over one run, our way to a ResultGrid, which unpickles nothing, leads to what Tune's does, but for a tag that it does not log."""
    mine, theirs = (grid.get_dataframe().sort_values("trial_id", ignore_index=True) for grid in (ours, tunes))
    pd.testing.assert_frame_equal(mine, theirs, check_like=True)
    others = {result.path: result for result in tunes}
    for result in ours:
        other = others[result.path]
        assert result.metrics == {key: value for key, value in other.metrics.items() if key != "experiment_tag"}
        assert (result.config, result.checkpoint) == (other.config, other.checkpoint)
        pd.testing.assert_frame_equal(result.metrics_dataframe, other.metrics_dataframe)
    for scope in ("last", "avg", "all"):
        assert len({grid.get_best_result("loss", "min", scope=scope).path for grid in (ours, tunes)}) == 1


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_the_driver_keeps_no_running_means_of_trials_that_have_ended(store: str) -> None:
    """They are most of what Tune keeps of a trial, in memory and in the state that it uploads."""
    assert main(synthetic(store, "--lora_r", "8", "64")) == 0
    state = max(Path(store, "one", "tune").glob("*/experiment_state-*.json"))
    kept = [json.loads(metadata) for _, metadata in json.loads(state.read_text())["trial_data"]]
    assert [trial["metric_n_steps"] for trial in kept] == [{}, {}]
    assert all(trial["metric_analysis"]["loss"]["min"] > 0 for trial in kept)


class Started(Probe):
    """Notes every start of a trial, with the process that it was in."""

    def run(self, context: Context) -> Row:
        with (Path(context.settings["notes"]) / "starts").open("a") as notes:
            notes.write(f"{context.trial_id} {os.getpid()}\n")
        return {"eval_loss": 1.0}


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_adding_a_rank_starts_one_trial_per_seed_and_no_other(store: str, tmp_path: Path) -> None:
    command = ["--trainable", f"{HERE}:Started", "--notes", str(tmp_path), "--storage_path", store, "--name", "one"]
    assert main([*command, "--lora_r", "8", "16", "--seeds", "0", "1"]) == 0
    before = (tmp_path / "starts").read_text().splitlines()
    rows = Store(f"{store}/one").trials().to_pylist()
    assert main([*command, "--lora_r", "8", "16", "32", "--seeds", "0", "1"]) == 0
    new = (tmp_path / "starts").read_text().splitlines()[len(before) :]
    assert len(before) == 4
    assert sorted(line.split("-")[0] for line in new) == ["r32", "r32"]
    assert not {line.split()[1] for line in new} & {line.split()[1] for line in before}
    after = {row["trial_id"]: row for row in Store(f"{store}/one").trials().to_pylist()}
    assert len(after) == 6 and all(after[row["trial_id"]] == row for row in rows)


class Phased(Probe):
    """Says what it does before its only step and after it, and takes a while for each."""

    def run(self, context: Context) -> Row:
        context.phase("loading", None)
        time.sleep(1.5)
        context.phase("first step", None)  # over before anybody could be told
        context.report({"step": 1, "loss": 1.0})
        time.sleep(1.5)
        context.phase("evaluating", 7)
        time.sleep(1.5)
        return {"eval_loss": 1.0}


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_what_a_trial_does_is_shown_and_is_no_result_of_tunes_log(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a scheduler, which finds its metric in none of it."""
    heard: list[Any] = []
    devices: list[Any] = []
    monkeypatch.setattr(Progress, "runs_on", lambda self, found: devices.append(found))
    monkeypatch.setattr(Progress, "phase", lambda self, *words: heard.append(words[1:]))
    monkeypatch.setattr(
        Progress, "row", lambda self, name, result: heard.append((result["step"], result.get("status")))
    )
    command = ["--trainable", f"{HERE}:Phased", "--storage_path", store, "--name", "one", "--lora_r", "4"]
    assert main([*command, "--scheduler", "asha"]) == 0
    assert heard == [("loading", None), (1, None), ("evaluating", 7), (1, "completed")]
    assert set(devices) == {Devices("GPUs", 2, 1, 2)}
    (log,) = (Path(store) / "one" / "tune").glob("*/*/result.json")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 1]
