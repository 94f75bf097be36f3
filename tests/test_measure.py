"""`python -m sweep.estimate --measure`: ten real steps of each configuration on this machine, without Ray."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.common.names import PROJECT, Resolve
from sweep.contract.cards import CARDS
from sweep.contract.measurer import Asked, Phase, Ran, Timed
from sweep.errors import Problem
from sweep.estimate import show_measured
from sweep.estimate.__main__ import main
from sweep.estimate.forecast import checked
from sweep.estimate.measure import measure
from sweep.estimate.measured import Measured
from sweep.estimate.prediction import Assumed
from sweep.space import Trial
from tests.peaks import DEMO, peaks

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and peft, about their own names

SWEEP = ["--preset", "demo", "--lora_r", "2", "full"]
SMALL = [*SWEEP, "--rows", "200", "--length", "16"]
RUN = """
import sys
from sweep.estimate.__main__ import main
code = main(sys.argv[1:])
assert "ray" not in sys.modules, "Ray was imported"
sys.exit(code)
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a model of which there is the configuration alone: neither weights nor a tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(PROJECT / "trainables" / "demo" / "model" / "config.json", folder)
    words = [*SMALL, "--model_name_or_path", str(folder), "--measure", "--random_weights", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words, "--format", "json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_each_configuration_is_trained_and_stands_beside_its_prediction(real: dict[str, Any]) -> None:
    assert [one["configuration"] for one in real["configurations"]] == ["r=2", "full"]
    for one in real["configurations"]:
        assert one["reason"] is None
        assert one["samples_per_second"] == pytest.approx(8 * one["steps_per_second"])
        assert one["tokens_per_second"] == pytest.approx((8 * 16 - 1) * one["steps_per_second"])
        assert one["rss_growth_bytes"] > 0
        assert one["prediction_error"] == pytest.approx(
            one["predicted_peak_memory_bytes"] / one["rss_growth_bytes"] - 1
        )
        assert one["flops_utilization"] is None
    hours = sum(3 * 60 / one["steps_per_second"] / 3600 for one in real["configurations"])
    assert real["hours"] == pytest.approx(hours)
    assert real["dollars"] is None


def test_what_settings_change_is_measured_or_says_why_not(real: dict[str, Any]) -> None:
    logging, precision, packing = (real["comparisons"][name] for name in ("logging", "precision", "packing"))
    rates = [logging[way]["tokens_per_second"] for way in ("every_step", "every_50_steps")]
    assert logging["ratio"] == pytest.approx(rates[0] / rates[1])
    assert precision["bf16"]["steps_per_second"] > 0
    assert precision["fp32"]["steps_per_second"] == real["configurations"][0]["steps_per_second"]
    assert packing["ratio"] is None
    assert "needs a GPU" in packing["reason"]


class Toy:
    """A Measurer that takes a second for each ten steps, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.runs = fails, list[tuple[Any, tuple[Phase, ...]]]()

    def device_name(self, device: str) -> str:
        return "NVIDIA A10G"

    def check(self, trials: Sequence[Trial], resolve: Resolve, random_weights: bool) -> list[Problem]:
        return []

    def run(self, trial: Trial, resolve: Resolve, asked: Asked, phases: Sequence[Phase]) -> Ran:
        self.runs.append((trial.rank, tuple(phases)))
        if self.fails in (str(trial.rank), "bf16" if trial.settings["bf16"] else "fp32"):
            raise RuntimeError("CUDA error: out of order\nand more")
        seconds = [0.8 if phase.log_every > 1 else 1.0 for phase in phases]
        timed = tuple(
            Timed(phase.steps, took, 8 * phase.steps, 128 * phase.steps)
            for phase, took in zip(phases, seconds, strict=True)
        )
        return Ran(timed, 2 * 10**9, 3 * 10**9, 10**9, None)

    def packed(self, settings: Any, device: str) -> Any:
        raise ValueError("no kernel.")


def measured(toy: Toy) -> Measured:
    assumed = Assumed(device="cuda", rows=200, length=16)
    config = checked([*SWEEP, "--seeds", "0"], assumed)
    return measure(config, assumed, toy, random_weights=True)


def test_rates_make_hours_money_and_the_share_of_the_cards_peak() -> None:
    found = measured(Toy())
    assert found.card is CARDS["a10g"]
    for line in found.lines:
        assert line.rates is not None
        assert line.rates.steps_per_second == 10
        assert line.error == pytest.approx(line.predicted.peak_bytes / 2e9 - 1)
        assert line.utilization(found.card) == pytest.approx(line.predicted.typical.flops * 10 / 31.5e12)
    assert found.hours == pytest.approx(2 * 60 / 10 / 3600)
    assert found.dollars == pytest.approx((found.hours or 0) * 1.01)
    assert found.comparisons["logging"].ratio == pytest.approx(0.8)


@pytest.mark.parametrize(("fails", "failed"), [("2", ["r=2"]), ("full", ["full"]), ("bf16", [])])
def test_a_line_that_fails_says_why_and_the_others_go_on(fails: str, failed: list[str]) -> None:
    toy = Toy(fails)
    found = measured(toy)
    assert [line.predicted.label for line in found.lines if line.reason] == failed
    content = show_measured.as_dict(found)
    for one in content["configurations"]:
        expected = "RuntimeError: CUDA error: out of order and more." if one["configuration"] in failed else None
        assert one["reason"] == expected
        assert (one["steps_per_second"] is None) == bool(expected)
    assert (found.hours is None) == bool(failed)
    assert content["comparisons"]["logging"]["configuration"] == ("full" if fails == "2" else "r=2")
    assert bool(content["comparisons"]["precision"]["reason"]) == (fails == "bf16")
    assert content["comparisons"]["packing"]["reason"] == "ValueError: no kernel."
    assert "failed" in show_measured.text(found) or not failed


def test_where_nothing_can_be_trained_that_is_what_is_said() -> None:
    toy = Toy("fp32")
    found = measured(toy)
    assert len(toy.runs) == 2
    assert {one.reason for one in found.comparisons.values()} == {"no configuration could be trained."}
    assert "no configuration could be trained" in show_measured.text(found)


def test_what_has_been_measured_is_not_measured_again() -> None:
    toy = Toy()
    measured(toy)
    ten, in_turns = (Phase(10),), (Phase(10), Phase(10, 50)) * 2
    assert toy.runs == [(2, ten), ("full", ten), (2, in_turns), (2, ten)]


def clock_of(times: Iterator[float]) -> Any:
    from trainables.measure.clock import Clock

    return Clock(3, [Phase(2), Phase(3, log_every=50)], now=lambda: next(times))


def test_a_phase_takes_its_last_log_and_nothing_before_it() -> None:
    """A step takes 1 s and a log 10: a clock that stopped at a step's end would miss a phase's last log."""
    seconds, logged = 0.0, []
    clock = clock_of(iter(lambda: seconds, None))
    for step in range(9):  # as the trainer goes: the number of steps that are done
        state, control = SimpleNamespace(global_step=step), SimpleNamespace(should_log=True)
        clock.on_step_begin(None, state, control)
        seconds, state.global_step = seconds + 1, step + 1
        clock.on_step_end(None, state, control)
        if control.should_log:
            seconds += 10
            logged.append(step + 1)
    assert clock.seconds == [22, 3]
    assert logged == [1, 2, 3, 4, 5, 9]


def test_the_longest_rows_come_first_and_all_phases_have_the_same_ones() -> None:
    import pyarrow as pa

    from trainables.measure.rows import counted, of_chance, of_data

    table = pa.table({"input_ids": [[1] * length for length in (3, 9, 5, 7)], "labels": [[1]] * 4, "more": [0] * 4})
    first, rest = of_data(table, 2, 6, {})
    assert [len(row["input_ids"]) for row in first] == [9, 7]
    assert sorted(len(row["input_ids"]) for row in rest[:4]) == [3, 5, 7, 9]
    assert rest[4:] == rest[:2]
    assert of_data(table, 2, 6, {}) == (first, rest)
    grouped = of_data(table, 0, 4, {"train_sampling_strategy": "group_by_length"})[1]
    assert [len(row["input_ids"]) for row in grouped] == [3, 5, 7, 9]
    packs = of_chance(2, 8, 100, 50, {"packing": True, "max_length": 512})
    assert counted(packs) == (10, 1000)


def test_a_real_run_grows_by_no_more_than_ten_times_what_was_predicted() -> None:
    """The CPU's half of tests/gpu/test_predicted_memory_gpu.py; exact figures are test_predict.py's."""
    found = peaks(DEMO, 8, 64, "cpu")
    assert found.ran.allocated_bytes is None
    assert found.ran.rss_growth_bytes is not None
    assert 0 < found.ran.rss_growth_bytes < 10 * found.predicted
    assert found.ran.phases[0].tokens == 10 * (8 * 64 - 1)


def test_a_model_without_weights_is_refused_unless_they_are_to_be_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(PROJECT / "trainables" / "demo" / "model" / "config.json", tmp_path)
    words = [*SMALL, "--model_name_or_path", str(tmp_path), "--measure", "--device", "cpu"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no weights" in err


CONTRADICTORY = [
    pytest.param(["--random_weights"], "needs --measure", id="random-weights"),
    pytest.param(["--measure", "--utilization", "0.5"], "--utilization: is an assumption", id="utilization"),
    pytest.param(["--measure", "--gpu_memory_gb", "24"], "--gpu_memory_gb: is an assumption", id="memory"),
    pytest.param(["--measure", "--device", "cpu", "--gpu", "a10g"], "--device cpu measures without one", id="card"),
    pytest.param(["--price_per_hour", "nan"], "--price_per_hour: must be at least 0", id="price"),
]


@pytest.mark.parametrize(("words", "said"), CONTRADICTORY)
def test_contradictory_flags_are_one_message(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_an_interrupt_is_one_line_and_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweep.estimate.measure.prepared", interrupted)
    assert main([*SMALL, "--measure"]) == 130
    assert capsys.readouterr().err == "Interrupted. Nothing of what was measured is kept.\n"


@pytest.mark.parametrize("words", [["--device", "cuda"], ["--gpu", "a10g"]])
def test_a_card_that_is_not_there_is_not_measured(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.estimate.measure._cuda", lambda: False)
    assert main([*SMALL, "--measure", *words]) == 2
    assert "that torch can use" in capsys.readouterr().err


def test_a_trainable_that_measures_nothing_is_told() -> None:
    from sweep.errors import ConfigError
    from sweep.estimate.measure import prepared

    with pytest.raises(ConfigError, match="no predictor"):
        prepared(["--trainable", "tests.test_trainable:Plain", "--lora_r", "8"], Assumed(), "cpu", True)
    with pytest.raises(ConfigError, match="no measurer"):
        prepared(["--trainable", "trainables.synthetic:Synthetic", "--lora_r", "8"], Assumed(), "cpu", True)


def test_the_prediction_of_a_cpu_says_nothing_of_cuda(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "CUDA" not in said
    assert "besides " not in said
    assert main([*SMALL, "--device", "cpu", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["configurations"][0]["besides_bytes"] is None


def test_a_measured_line_without_rates_has_no_hours() -> None:
    found = measured(Toy())
    assert replace(found.lines[0], ran=None).hours is None
