"""Each benchmark runs, small, and prints what its table row needs. Its figures are for a quiet machine, not for a test."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tuned_demo

SMALL = ["--lora_r", "2", "--seeds", "0", "--max_steps", "2", "--repetitions", "1"]
TINY: dict[str, list[str]] = {
    "reporting": ["--trials", "1", "2", "--steps", "3", "--repetitions", "1"],
    "next_trial": ["--trials", "2", "--repetitions", "1"],
    "sweep_overhead": SMALL,
    "two_slots": SMALL,
    "tokens_once": ["--rows", "200", "--trials", "2", "--usual", "1"],
    "store": ["--trials", "12", "--steps", "5", "--repetitions", "1"],
    "scale": ["--trials", "4", "--repetitions", "1"],
    "trainer_costs": ["--steps", "4", "--rounds", "1"],
    "power": ["--sweeps", "20", "--advised", "5", "--ranks", "3", "--seeds", "3", "--examples", "100"],
    "attack": ["--sweeps", "5", "--ranks", "2"],
    "tuned_demo": [
        "--seeds",
        "0",
        "--max_seeds",
        "1",
        "--lora_r",
        "2",
        "8",
        "--max_steps",
        "2",
        "--test_split_size",
        "8",
    ],
    "live": ["--trials", "2", "--seconds", "2"],
}
KEYS = {
    "reporting": {"at_once", "wanted"},
    "next_trial": {"seconds", "seconds_range", "ratio", "seconds_over_bare_loop", "wanted"},
    "sweep_overhead": {"seconds_sweep", "seconds_loop", "seconds_trained", "ratio", "ratio_range", "wanted"},
    "two_slots": {"seconds_sweep", "seconds_loop", "seconds_loop_of_two_threads", "ratio", "ratio_range", "wanted"},
    "tokens_once": {"tokenizations", "tokenizations_usual_way", "seconds_to_dataset", "ratio", "wanted"},
    "store": {"seconds_tune", "seconds_ours", "bytes_tune", "bytes_ours", "ratio", "ratio_range", "wanted"},
    "scale": {
        "seconds_ours",
        "seconds_tune",
        "driver_growth_bytes_ours",
        "driver_growth_bytes_tune",
        "ratio",
        "wanted",
    },
    "power": {"small", "seeds", "advice"},
    "attack": {"duplicates", "clusters", "diverged", "bad_run_in_ten", "unequal_spread", "no_examples", "highest_rate"},
    "tuned_demo": {"race", "grid", "same_pick", "trials_share", "wanted"},
    "live": {"of_a_core", "of_a_core_without", "ratio", "wanted"},
    "trainer_costs": {"seconds_per_step", "seconds_per_step_in", "item_calls_per_step", "loss"},
}


def printed(name: str, folder: Path) -> dict[str, Any]:
    """The one JSON object on stdout. Lines before it are the trainer's own. Results that are kept go into the folder."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *TINY[name]]
    command += ["--folder", str(folder)] if name == "tuned_demo" else []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    found: dict[str, Any] = json.loads("\n".join(lines[lines.index("{") :]))
    return found


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_prints_one_object_with_its_figures(name: str, tmp_path: Path) -> None:
    found = printed(name, tmp_path)
    assert found["benchmark"] == name
    assert found.keys() >= KEYS[name]
    if name == "reporting":
        assert found["at_once"].keys() == {"1", "2"}
        for one in found["at_once"].values():
            assert one["steps_per_second"].keys() == {"none", "ours", "tune.report"}
            assert one["ratio"] > 0 and one["ratio_tune_report"] > 0
    elif name == "power":
        cell = found["seeds"]["3 ranks"]["3 seeds"]["100 examples"]
        assert 0 <= cell["right"] <= cell["decided"] <= 1
        assert cell["wrong_pick"]["interval"][0] <= cell["wrong_pick"]["rate"] <= cell["wrong_pick"]["interval"][1]
    elif name == "attack":
        assert found["no_examples"]["2 ranks"]["different_when_equal"]["rate"] == 0
        assert found["highest_rate"] <= 1
    elif name == "live":
        assert found["of_a_core"] > 0
    elif name == "trainer_costs":
        assert len(set(found["loss"].values())) == 1, "every way trains the same"
    elif name == "tuned_demo":
        assert found["grid"]["trials"] == 2 * len(tuned_demo.RATES)
        assert 0 < found["trials_share"] == round(found["race"]["begun"] / found["grid"]["trials"], 3) <= 1
    else:
        assert found["ratio"] > 0
