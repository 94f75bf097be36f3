"""A second driver on a sweep that runs: refused, and nothing of the first is touched."""

import signal
import subprocess
import time
from pathlib import Path

from sweep.grid import main
from sweep.store import Store
from tests.integration.test_interrupt import command


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


def test_nothing_is_locked_where_nothing_is_to_run(store: str) -> None:
    assert main([*command(store)[3:], "--dry_run"]) == 0
    assert not Path(store, "one").exists()
