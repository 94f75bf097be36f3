"""A race with a tuned rate under real Ray: killed in its middle it decides the same, and answers the same, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis, decisions
from sweep.store.store import Store

TRUTH = ("--enough_rank", "8", "--best_rate", "1e-3", "--rate_slope", "0.02", "--run_noise", "0.001")
RACE = (
    *("--trainable", "trainables.synthetic:Synthetic", "--lora_r", "2", "8", "32", "--max_steps", "20"),
    *("--step_time_s", "0.02", "--save_every", "5", "--diverges_above", "5e-3", *TRUTH),
    *("--tune", "learning_rate", "--race"),
)
TIMES = ("train_runtime", "train_steps_per_second", "steps_per_second", "peak_rss_bytes", "provenance")


def started(location: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sweep.grid", "--storage_path", str(location), "--name", "one", *RACE, *more]
    environment = {**os.environ, "RAY_memory_usage_threshold": "0.99"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(driver: "subprocess.Popen[str]") -> tuple[int, str]:
    _, err = driver.communicate(timeout=240)
    return driver.returncode, err


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def outcome(location: Path) -> tuple[Any, ...]:
    """Decisions and answer, but for what a clock measured."""
    store = Store(f"{location}/one")
    said = json.loads(analysis.render(analysis.answer(analysis.load(store.location)), "json"))
    rows = sorted(store.trials().select(["trial_id", "eval_loss"]).to_pylist(), key=str)
    wanted = {entry["trial_id"] for entry in store.read_sweep()["trials"]}
    configurations = [
        {key: value for key, value in one.items() if key not in TIMES and "train" not in key}
        for one in said["configurations"]
    ]
    pick = said["recommendation"]["label"]
    losses = [row for row in rows if row["trial_id"] in wanted]
    return store.decisions().to_pylist(), pick, configurations, losses


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("race")
    code, err = ended(started(location, "--max_concurrent_trials", "1"))
    assert code == 0, err
    assert "r=32: learning_rate 0.0003 first" in err and "r=2 learning_rate=" not in err.splitlines()[0]
    assert "at most" in err, "how many trials there can be is said"
    return location


def test_it_decides_and_its_rows_give_the_decisions_again(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded, pick, _, losses = outcome(undisturbed)
    assert recorded[-1]["text"].startswith("decided with") and pick.startswith("r=8")
    assert len(losses) < 20, "of 300 that there may be"
    assert decisions.main([f"{undisturbed}/one"]) == 0
    assert "Replaying the trials' rows gives the same decisions." in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["decisions", "trials", "policy"])
def test_what_a_driver_that_was_killed_at_the_very_end_did_not_record_is_recorded(
    undisturbed: Path, tmp_path: Path, lost: str
) -> None:
    shutil.copytree(undisturbed / "one", tmp_path / "one")
    store = Store(f"{tmp_path}/one")
    content = store.read_sweep()
    if lost == "decisions":
        store.write_decisions(store.decisions().to_pylist()[:-1])
    elif lost == "trials":
        store.write_sweep({**content, "trials": content["trials"][:-1]})
    else:  # as a version that recorded no decisions left it
        store.write_sweep({key: value for key, value in content.items() if key != "policy"})
        store.write_decisions([])
    code, err = ended(started(tmp_path, "--max_concurrent_trials", "1"))
    assert code == 0, err
    assert outcome(tmp_path) == outcome(undisturbed)
    assert store.read_sweep() == content and decisions.main([store.location]) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_ended_in_mid_race_decides_the_same_when_it_goes_on(
    undisturbed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    store = Store(f"{tmp_path}/one")
    driver = started(tmp_path)
    until(lambda: len(store.trial_names()) >= 3)
    driver.send_signal(number)
    code, _ = ended(driver)
    assert code == (130 if number is signal.SIGTERM else -number)
    part = store.decisions().to_pylist()
    assert part == outcome(undisturbed)[0][: len(part)] != []
    code, err = ended(started(tmp_path))
    assert code == 0, err
    assert outcome(tmp_path) == outcome(undisturbed)


def test_a_worker_that_is_killed_in_mid_race_changes_no_decision(undisturbed: Path, tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/one")
    driver = started(tmp_path)
    until(lambda: len(store.trial_names()) >= 2)
    (victim, *_) = workers_of(driver.pid)
    os.kill(victim, signal.SIGKILL)
    code, err = ended(driver)
    assert code == 0, err
    assert outcome(tmp_path) == outcome(undisturbed)


def workers_of(pid: int) -> list[int]:
    """The processes below the driver that run trials."""
    import psutil

    found: list[int] = []

    def look() -> bool:
        below = psutil.Process(pid).children(recursive=True)
        found[:] = [one.pid for one in below if "TuneTrial" in " ".join(one.cmdline())]
        return bool(found)

    until(look)
    return found
