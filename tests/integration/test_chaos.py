"""Kills in the middle change nothing; the long version is `python -m benchmarks.chaos`."""

from benchmarks.chaos import compare


def test_a_sweep_whose_workers_and_drivers_are_killed_ends_like_an_undisturbed_one() -> None:
    found = compare(worker_kills=3, driver_kills=2, seed=0, more=["--max_steps", "15"])
    assert found["different"] == []
    assert found["drivers_started"] >= 3
