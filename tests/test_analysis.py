import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sweep
from sweep import analysis
from sweep.errors import NotASweep
from sweep.store.store import Store
from tests.answers import REPORT, csv_file, of_csv, of_rows, recommended, row, simulated
from tests.simulate import Design, losses, write_steps

# --- which loss, over which unit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "basis"), [(1, "examples"), (2, "examples"), (3, "seeds"), (4, "seeds")])
def test_the_unit_is_the_seed_from_three_seeds_on(tmp_path: Path, seeds: int, basis: str) -> None:
    found = analysis.answer(analysis.load(simulated(tmp_path, Design((0.0, 0.1), seeds)).location))
    assert found.basis == basis
    assert ("Evaluation noise only" in found.basis_text) == (basis == "examples")
    claims = [one.comparison.different for one in found.configurations if one.comparison]
    assert any(claims) == (basis == "seeds")


def test_few_examples_and_few_seeds_bound_nothing(tmp_path: Path) -> None:
    found = analysis.answer(analysis.load(simulated(tmp_path, Design((0.0, 0.1), 2, examples=19)).location))
    assert found.basis == "none"


def test_the_cheapest_within_the_margin_is_recommended(tmp_path: Path) -> None:
    design = Design((0.1, 0.0, 0.0), 5, seed_noise=0.001, training_noise=0.0002, interaction=0.002, rest=0.002)
    found = analysis.answer(analysis.load(simulated(tmp_path, design).location))
    assert found.recommendation
    assert found.recommendation.label == "r=8"
    assert found.recommendation.decided
    assert found.recommendation.tied == ("r=16",)
    assert found.configuration("r=4").comparison.verdict == "worse"  # type: ignore[union-attr]


def test_what_the_data_cannot_tell_is_said_and_the_cheapest_still_named(tmp_path: Path) -> None:
    design = Design((0.0, 0.0), 3, examples=1000, training_noise=0.004, interaction=0.001, rest=0.001)
    found = analysis.answer(analysis.load(simulated(tmp_path, design).location))
    assert found.recommendation
    assert not found.recommendation.decided
    assert found.recommendation.label == "r=4"
    assert "cannot tell" in found.recommendation.text
    assert re.search(r"\d+ more seeds? of r=4 and r=8", found.recommendation.text)


def test_the_same_rank_twice_under_two_names_is_tied(tmp_path: Path) -> None:
    """An axis without effect: the same seeds give the same losses."""
    store = Store(str(tmp_path / "aa"))
    sums, tokens = losses(Design((0.0,), 2), 1, np.random.default_rng(0))
    store.write_sweep({"axes": {"name": ["a", "b"]}, "trials": []})
    for name in "ab":
        for seed in range(2):
            total = sums[0, 0, seed]
            trial = f"{name}{seed}"
            store.write_evals(
                trial,
                [
                    {"trial_id": trial, "example_id": index, "loss_sum": loss, "tokens": int(count)}
                    for index, (loss, count) in enumerate(zip(total, tokens[0], strict=True))
                ],
            )
            loss = float(total.sum() / tokens.sum())
            store.write_trial(row(trial, seed=seed, eval_loss=loss), {"name": name})
    found = analysis.answer(analysis.load(store.location))
    assert found.recommendation
    assert found.recommendation.tied == ("r=8 name=b",)
    assert not found.recommendation.not_told_apart


def test_different_tokenizers_are_compared_in_bits_per_byte(tmp_path: Path) -> None:
    """The second has the lower loss per token only because its tokens are shorter."""
    store = Store(str(tmp_path / "toy"))
    for name, loss, tokens, tokenizer in (("r8-s0", 2.0, 100, "a"), ("r16-s0", 1.5, 200, "b")):
        rank = int(name[1:-3])
        store.write_trial(row(name, rank, eval_loss=loss, provenance={"tokenizer": tokenizer}), {})
        one = {"trial_id": name, "example_id": 0, "loss_sum": loss * tokens, "tokens": tokens, "bytes": 400}
        store.write_evals(name, [one])
    store.write_sweep({"axes": {}, "trials": []})
    found = analysis.answer(analysis.load(store.location))
    assert found.metric == "bits_per_byte"
    assert found.configuration("r=8").loss == pytest.approx(200 / 400 / np.log(2))
    assert recommended(found) == "r=8"
    store.write_sweep({"axes": {}, "trials": [], "loss_unit": "nats/preference"})  # which are no bits of a text
    other = analysis.answer(analysis.load(store.location))
    assert other.metric is None and other.recommendation is None


# --- statuses --------------------------------------------------------------------------------------------------------


def test_trials_that_did_not_complete_are_counted_and_named(tmp_path: Path) -> None:
    statuses = ("oom", "failed", "pruned", "rejected", "interrupted")
    rows = [row(f"{status}-1", 8 + place, status=status) for place, status in enumerate(statuses)]
    found = of_rows(tmp_path, [row("good"), *rows])
    assert {one.trial_id: one.status for one in found.outcomes} == {f"{status}-1": status for status in statuses}
    assert found.statuses["oom"] == 1
    text = analysis.render(found, "table")
    assert all(f"{status}-1" in text for status in statuses)
    assert "not trained as long" in text


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_diverged_and_a_missing_one_is_not(tmp_path: Path, loss: float) -> None:
    found = of_rows(tmp_path, [row("good"), row("bad", 16, eval_loss=loss), row("none", 32, eval_loss=None)])
    assert [(one.trial_id, one.status) for one in found.outcomes] == [("bad", "diverged")]
    assert any("none" in line for line in found.warnings)


def test_a_planned_trial_without_a_row_runs_if_it_has_steps_and_makes_the_answer_partial(tmp_path: Path) -> None:
    planned = [
        {"trial_id": name, "method": "lora", "lora_r": 8, "lora_alpha": None, "seed": 1} for name in ("on", "off")
    ]
    store = Store(str(tmp_path / "toy"))
    write_steps(store, "on", [2.0, 1.9])
    found = of_rows(tmp_path, [row()], trials=planned)
    assert found.partial
    assert {one.trial_id: one.status for one in found.outcomes} == {"on": "running", "off": "not started"}
    loaded = sweep.load(store.location)
    assert list(loaded.trials["status"]) == ["completed", "running"]
    assert "partial" in analysis.render(found, "table")
    assert "partial" in analysis.render(found, "markdown")
    assert json.loads(analysis.render(found, "json"))["partial"] is True


def test_a_sweep_without_any_row_has_a_partial_answer(tmp_path: Path) -> None:
    planned = [{"trial_id": "r8", "method": "lora", "lora_r": 8, "lora_alpha": 16.0, "seed": 0, "packing": True}]
    found = of_rows(tmp_path, [], trials=planned)
    assert found.partial
    assert found.recommendation is None
    for format in ("table", "json", "csv", "markdown"):
        assert analysis.render(found, format)


def test_the_trial_table_is_read_without_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = simulated(tmp_path, Design((0.0,), 1))
    write_steps(store, "r4-s0", [2.0, 1.5])

    def refuse(self: Store, trial_id: str | None = None) -> None:
        raise AssertionError("curves were read")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "steps", refuse)
        assert list(sweep.load(store.location).trials["trial_id"]) == ["r4-s0"]
    loaded = sweep.load(store.location)
    assert list(loaded.steps["step"]) == [1, 2]
    assert len(loaded.evals) == 100
    assert loaded.config["schema_version"] == 1


def test_a_part_that_is_merged_while_it_is_read_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = simulated(tmp_path, Design((0.0,), 1))
    write_steps(store, "r4-s0", [2.0, 1.5])
    real, calls = Store.steps, []

    def first_gone(self: Store, trial_id: str | None = None) -> Any:
        calls.append(trial_id)
        if len(calls) == 1:
            raise FileNotFoundError("part-1-000000.parquet")
        return real(self, trial_id)

    monkeypatch.setattr(Store, "steps", first_gone)
    assert len(sweep.load(store.location).steps) == 2


def test_a_broken_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = simulated(tmp_path, Design((0.0,), 1))
    store.write_bytes("trials/r4-s0.parquet", b"PAR1 no, it is not")
    assert analysis.main([store.location]) == 2
    assert "cannot be read" in capsys.readouterr().err


# --- costs -----------------------------------------------------------------------------------------------------------


def test_prefer_changes_what_cheap_means(tmp_path: Path) -> None:
    text = "lora_r,eval_loss,peak_memory_allocated_bytes,train_runtime\n8,1.0,2 GB,20\n16,1.0,3 GB,10\n"
    assert recommended(of_csv(tmp_path, text)) == "r=8"
    assert recommended(of_csv(tmp_path, text, prefer=["time"])) == "r=16"


def test_savings_are_against_the_best_and_against_full_fine_tuning(tmp_path: Path) -> None:
    text = (
        "lora_r,eval_loss,peak_memory_allocated_bytes,train_runtime,trainable_parameters\n"
        "8,1.001,2 GB,90,10\n16,1.0,4 GB,100,20\nfull,1.2,8 GB,180,1000\n"
    )
    found = of_csv(tmp_path, text).recommendation
    assert found
    assert [(one.role, one.memory, one.time) for one in found.savings] == [
        ("best", 0.5, pytest.approx(0.1)),
        ("full", 0.75, 0.5),
    ]
    assert "Against full fine-tuning it takes 75 % less memory, 50 % less training time" in found.text


def test_off_cuda_the_process_memory_has_its_own_name(tmp_path: Path) -> None:
    found = of_rows(tmp_path, [row("a", 8, peak_rss_bytes=10**9), row("b", 16, peak_rss_bytes=2 * 10**9)])
    text = analysis.render(found, "table")
    assert "peak RSS (host)" in text
    assert "peak GPU memory" not in text
    assert found.configurations[0].results["peak_memory_allocated_bytes"] is None


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from sweep import analysis, report\n"
        "for main in (analysis.main, report.main):\n"
        "    try: main(['--help'])\n"
        "    except SystemExit: pass\n"
        "print(sorted({'pandas', 'scipy', 'numpy', 'pyarrow', 'plotly', 'rich', 'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_place_without_a_sweep_is_a_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotASweep):
        analysis.load(str(tmp_path))
    assert analysis.main([str(tmp_path)]) == 2
    assert "there is no sweep.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a sweep's folder"),
        (["x", "--from_csv", "y.csv"], "not both"),
        (["x", "--prefer", "beauty"], "beauty"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        analysis.main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("margin", ["-0.1", "1", "nan"])
def test_a_margin_is_a_fraction(tmp_path: Path, margin: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv_file(tmp_path, REPORT)
    assert analysis.main(["--from_csv", path, f"--margin={margin}"]) == 2
    assert "give a fraction" in capsys.readouterr().err


def test_the_sweeps_own_margin_is_the_default(tmp_path: Path) -> None:
    assert of_rows(tmp_path, [row()], margin=0.02).margin == 0.02


def test_a_time_that_is_not_known_takes_no_part(tmp_path: Path) -> None:
    """As a trial's that went on from a checkpoint of an earlier version."""
    cost = {"peak_memory_allocated_bytes": 100, "trainable_parameters": 1}
    slow, quick = ({"train_runtime": seconds, **cost} for seconds in (20.0, 10.0))
    rows = [row("a", 8, 0, **slow), row("b", 8, 1, **{**slow, "train_runtime": None})]
    known = of_rows(tmp_path / "known", [*rows, row("c", 16, 0, **quick), row("d", 16, 1, **quick)])
    assert [one.results["train_runtime"] for one in known.configurations] == [20.0, 10.0] and recommended(
        known
    ) == "r=16"
    unknown = {**quick, "train_runtime": None}
    none = of_rows(tmp_path / "none", [*rows, row("c", 16, 0, **unknown), row("d", 16, 1, **unknown)])
    assert none.configurations[1].results["train_runtime"] is None and recommended(none) == "r=8", (
        "the first, all else being equal"
    )
