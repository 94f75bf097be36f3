"""Kills in the middle change nothing; the long version is `python -m benchmarks.chaos`."""

from benchmarks.chaos import Kill, compare

KILLS = [
    Kill("worker", "SIGTERM", "evaluation"),
    Kill("driver", "SIGKILL", "upload"),
    Kill("gcs_server", "SIGKILL", "any"),
    Kill("raylet", "SIGTERM", "evaluation"),
]


def test_a_sweep_under_attack_ends_like_an_undisturbed_one_and_leaves_nothing_behind() -> None:
    found = compare(KILLS, seed=0, more=["--max_steps", "8", "--lora_r", "2", "8"])
    assert found["kills"] == {" ".join(kill): 1 for kill in KILLS}
    assert found["different"] == found["false_endings"] == []
    assert found["left_in_tmp"] == found["left_running"] == []
    assert found["exit_codes"]["gcs_server SIGKILL"] == found["exit_codes"]["raylet SIGTERM"] == {1: 1}
