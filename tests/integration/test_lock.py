"""A second driver on a sweep that runs: refused, and nothing of the first is touched."""

import signal
import subprocess
import time
from pathlib import Path

from benchmarks.chaos import outliving, trial_processes
from sweep.grid import main
from sweep.store.store import Store
from tests.integration.test_interrupt import command
from tests.test_lock import elsewhere, locked_by


def test_a_second_driver_is_refused_while_the_first_runs_and_the_first_does_not_notice(store: str) -> None:
    place, words = Store(f"{store}/one"), [*command(store), "--max_steps", "5000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        deadline = time.monotonic() + 120
        while place.steps().num_rows < 5:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.2)
        second = subprocess.run(words, capture_output=True, text=True, timeout=240)
        assert second.returncode == 2
        assert f"another driver runs this sweep (pid {first.pid} on" in second.stderr
        assert "Traceback" not in second.stderr and not second.stdout
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=120)
        assert first.returncode == 130, said
    rows = place.trials().to_pylist()
    assert rows and all(row["status"] == "interrupted" and row["attempts"] == 1 for row in rows)
    assert not Path(store, "one", "lock.json").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """What a sweep has measured so far."""
    parts = [path for name in ("trials", "steps", "evals", "logs") for path in (folder / name).rglob("*")]
    return {str(path): path.read_bytes() for path in (*parts, folder / "lock.json") if path.is_file()}


def test_a_driver_that_was_suspended_for_so_long_that_another_took_over_writes_nothing_and_ends(store: str) -> None:
    """Its workers were not suspended: they find out by themselves."""
    place, words = Store(f"{store}/one"), [*command(store), "--max_steps", "5000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 120
        while place.steps().num_rows < 5:
            assert time.monotonic() < deadline and driver.poll() is None
            time.sleep(0.2)
        workers = trial_processes(driver.pid)
        driver.send_signal(signal.SIGSTOP)
        locked_by(place, elsewhere(silent_for=0))
        before = contents(Path(store, "one"))
        time.sleep(3)  # parts are written every two seconds
        driver.send_signal(signal.SIGCONT)
        _, said = driver.communicate(timeout=120)
        assert driver.returncode == 1, said
    assert contents(Path(store, "one")) == before
    assert [line for line in said.splitlines() if "taken over" in line] == [said.splitlines()[-1]]
    assert f"{place.location} was taken over by another driver (pid" in said and "Traceback" not in said
    assert workers and not outliving(workers, timeout=60)


def test_nothing_is_locked_where_nothing_is_to_run(store: str) -> None:
    assert main([*command(store)[3:], "--dry_run"]) == 0
    assert not Path(store, "one").exists()
