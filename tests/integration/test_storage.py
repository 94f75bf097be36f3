"""Stores that refuse files under a running sweep: a full disk, one that became read-only, an S3 endpoint that is gone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.store.checkpoints import newest
from sweep.store.leftovers import pending, spool_dir
from sweep.store.store import Store
from tests.integration.faults import made

STEPS = 80
FULL, READ_ONLY = (pytest.param(kind, marks=pytest.mark.mount) for kind in ("full", "read-only"))


class Swept:
    """A sweep of two trials, one after the other, on a store that can be made to refuse."""

    def __init__(self, fault: Any, cache: Path) -> None:
        self.fault = fault
        self.store = Store(f"{fault.location}/one")
        self.environment = {**os.environ, **fault.environment, "XDG_CACHE_HOME": str(cache)}

    def start(self, *more: str) -> "subprocess.Popen[str]":
        words = ["--storage_path", self.fault.location, "--name", "one", "--lora_r", "2", "4", "--save_every", "10"]
        words += ["--trainable", "trainables.synthetic:Synthetic", "--max_steps", str(STEPS), "--step_time_s", "0.05"]
        return subprocess.Popen(
            [sys.executable, "-m", "sweep.grid", *words, "--max_concurrent_trials", "1", *more],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_rows(self, driver: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + 120
        while self.store.steps().num_rows < 5:
            assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
            time.sleep(0.2)

    def assert_whole(self) -> None:
        """As if nothing had happened: each trial begun once, each row there once, a checkpoint for each."""
        rows = self.store.trials().to_pylist()
        assert [row["status"] for row in rows] == ["completed"] * 2
        assert [(row["attempts"], row["steps"], row["dropped_rows"]) for row in rows] == [(1, STEPS, 0)] * 2
        steps, evals = self.store.steps().to_pandas(), self.store.evals().to_pandas()
        for row in rows:
            mine = steps[steps.trial_id == row["trial_id"]]
            assert mine.step.tolist() == list(range(1, STEPS + 1)) and set(mine.attempt) == {1}
            assert sorted(evals[evals.trial_id == row["trial_id"]].example_id) == list(range(50))
            found = newest(self.store, row["trial_id"])
            assert found is not None and found.name == row["checkpoint"] == f"checkpoints/{row['trial_id']}/final"
            assert self.store.exists(row["log"])
        assert not self.store.exists("lock.json")


@pytest.fixture
def swept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Swept]:
    with made(request.param, tmp_path) as fault:
        yield Swept(fault, tmp_path / "cache")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # moto's server leaves its sockets open
@pytest.mark.parametrize("swept", [FULL, READ_ONLY, "endpoint"], indirect=True)
def test_a_store_that_comes_back_gets_every_row_and_the_sweep_does_not_notice(swept: Swept) -> None:
    with swept.start() as driver:
        swept.wait_for_rows(driver)
        swept.fault.fail()
        time.sleep(8)  # the first trial ends meanwhile
        assert driver.poll() is None
        swept.fault.fix()
        _, said = driver.communicate(timeout=240)
        assert driver.returncode == 0, said
    swept.assert_whole()
    assert not pending(Path(swept.environment["XDG_CACHE_HOME"]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("swept", [FULL, "endpoint"], indirect=True)
def test_a_store_that_stays_away_stops_the_sweep_and_the_next_command_writes_what_waits(swept: Swept) -> None:
    with swept.start("--storage_patience_s", "2") as driver:
        swept.wait_for_rows(driver)
        swept.fault.fail()
        _, said = driver.communicate(timeout=400)
    assert driver.returncode == 1, said
    assert f"{swept.store.location} cannot be written to, so the sweep was stopped: " in said
    assert "Traceback" not in said and said.count("is kept in") == 1
    spool = said.partition("is kept in ")[2].partition(". Free space")[0]
    (kept,) = pending(Path(spool))
    assert kept.parent.name in said and (kept / "ending.json").exists() and (kept / "checkpoint").is_dir()
    swept.fault.fix()
    with swept.start() as driver:
        _, said = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    assert f"{kept.parent.name}: started" not in said  # its training is not repeated
    swept.assert_whole()
    assert not Path(spool).exists()


def test_where_what_waits_depends_on_the_sweep_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert spool_dir(Store("a/b"), "1") == spool_dir(Store("/a/b/"), "1") != spool_dir(Store("/a/c"), "1")
    assert spool_dir(Store("s3://a/b"), "1") == spool_dir(Store("s3://a/b/"), "1") != spool_dir(Store("s3://a/c"), "1")
    assert len({spool_dir(Store("/a/b"), name) for name in ("1", "2", None)}) == 3
