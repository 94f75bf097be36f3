import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import sweep
from sweep import analysis
from sweep.answer import Answer
from sweep.errors import NotASweep, RowsError, SweepError
from sweep.store import Store
from tests.simulate import Design, losses, write, write_steps

REPORT = """lora_r,train_runtime,train_samples_per_second,train_steps_per_second,train_loss,max memory allocated
8,2979.7306,20.158,2.520,1.7972377590911495,3.1 GB
128,3150.6706,19.065,2.383,1.7855897097727924,3.2 GB
256,3377.9271,17.782,2.223,1.7853196822687287,3.4 GB
"""


def csv_file(folder: Path, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text)
    return str(path)


def of_csv(folder: Path, text: str, **options: Any) -> Answer:
    return analysis.answer(analysis.from_file(csv_file(folder, text)), **options)


def row(trial_id: str = "r8-s0", lora_r: int | None = 8, seed: int = 0, **values: Any) -> dict[str, Any]:
    """A toy trial row, completed unless told otherwise."""
    settings, provenance = values.pop("settings", {}), values.pop("provenance", {})
    return {
        "trial_id": trial_id,
        "status": "completed",
        "method": "full" if lora_r is None else "lora",
        "lora_r": lora_r,
        "seed": seed,
        "eval_loss": 2.0,
        "settings": json.dumps(settings),
        "provenance": json.dumps(provenance),
        **values,
    }


def of_rows(
    folder: Path, rows: Sequence[dict[str, Any]], axes: Sequence[dict[str, Any]] | None = None, **config: Any
) -> Answer:
    store = Store(str(folder / "toy"))
    names = {name for further in axes or () for name in further}
    store.write_sweep({"axes": {name: [] for name in names}, "trials": [], **config})
    for one, further in zip(rows, axes or [{}] * len(rows), strict=True):
        store.write_trial(one, further)
    return analysis.answer(analysis.load(store.location))


def simulated(folder: Path, design: Design, seed: int = 0) -> Store:
    store = Store(str(folder / "simulated"))
    sums, tokens = losses(design, 1, np.random.default_rng(seed))
    write(store, sums[0], tokens[0])
    return store


def recommended(answer: Answer) -> str:
    assert answer.recommendation
    return answer.recommendation.label


# --- the report's three rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("margin", "rank"), [(None, "r=128"), (0.005, "r=128"), (0.01, "r=8"), (0.0001, "r=256")])
def test_the_reports_rows_give_its_conclusion(tmp_path: Path, margin: float | None, rank: str) -> None:
    assert recommended(of_csv(tmp_path, REPORT, margin=margin)) == rank


def test_the_reports_rows_support_no_claim_about_noise(tmp_path: Path) -> None:
    found = of_csv(tmp_path, REPORT)
    assert found.recommendation
    assert not found.recommendation.decided
    assert "One seed without held-out loss: no claim about noise is supported" in found.recommendation.text
    assert all(one.comparison and one.comparison.upper is None for one in found.configurations)


def test_a_parquet_of_the_rows_says_the_same(tmp_path: Path) -> None:
    source = csv_file(tmp_path, REPORT)
    target = str(tmp_path / "rows.parquet")
    pq.write_table(pa_csv.read_csv(source), target)
    assert recommended(analysis.answer(analysis.from_file(target))) == "r=128"


@pytest.mark.parametrize(("text", "size"), [("3.1 GB", 3.1e9), ("3 GiB", 3 * 2**30), ("3100000000", 3.1e9)])
def test_memory_is_bytes_or_a_size(tmp_path: Path, text: str, size: float) -> None:
    found = of_csv(tmp_path, f"lora_r,train_loss,peak_memory_allocated_bytes\n8,1.8,{text}\n")
    assert found.configurations[0].peak_memory_allocated_bytes == size


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lora_r,eval_los\n8,1\n", "no such column as 'eval_los': did you mean eval_loss?"),
        ("train_loss\n1\n", "there is no column lora_r"),
        ("lora_r\n8\n", "there is no column eval_loss (held-out) or train_loss"),
        ("lora_r,train_loss\n8.5,1\n", "row 1: lora_r is '8.5'; it must be a whole number"),
        ("lora_r,train_loss\n0,1\n", "row 1: lora_r is '0'; a rank is 1 or more, or full"),
        ("lora_r,train_loss\n,1\n", "row 1: lora_r is empty"),
        ("lora_r,train_loss\n8,low\n", "row 1: train_loss is 'low'; it must be a number"),
        ("lora_r,train_loss,train_runtime\n8,1,inf\n", "row 1: train_runtime is 'inf'; it must be finite"),
        ("lora_r,train_loss,max memory allocated\n8,1,3 apples\n", 'a size such as "3.1 GB"'),
        ("lora_r,train_loss,status\n8,1,fine\n", "row 1: status is 'fine'"),
        ("lora_r,rank,train_loss\n8,8,1\n", "there are two columns for lora_r"),
        ("lora_r,train_loss\n8,1,2\n", "row 1 has more cells than names"),
        ("lora_r,train_loss\n", "there are no rows"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_with_the_reason(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysis.main(["--from_csv", csv_file(tmp_path, text)]) == 2
    out, err = capsys.readouterr()
    assert complaint in err
    assert not out


def test_every_complaint_about_a_file_is_made_at_once(tmp_path: Path) -> None:
    with pytest.raises(RowsError) as caught:
        analysis.from_file(csv_file(tmp_path, "lora_r,train_loss\n0,low\nx,1\n"))
    assert len(caught.value.complaints) == 3


def test_a_column_of_no_known_name_is_an_axis_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv_file(tmp_path, "lora_r,train_loss,colour\n8,1.0,red\n8,1.1,blue\n")
    assert analysis.main(["--from_csv", path]) == 0
    out, err = capsys.readouterr()
    assert "r=8, colour=red" in out
    assert "'colour'" in err and "axis" in err


def test_rows_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="nothing tells them apart"):
        of_csv(tmp_path, "lora_r,train_loss\n8,1.0\n8,1.1\n")


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
    found = analysis.answer(analysis.load(simulated(tmp_path, design, seed=5).location))
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
    assert found.recommendation.tied == ("r=8, name=b",)
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


# --- what differs ----------------------------------------------------------------------------------------------------

BASE = {"learning_rate": 1e-4, "per_device_train_batch_size": 8}


@pytest.mark.parametrize(
    ("changed", "name", "values", "kind"),
    [
        ({"settings": {**BASE, "learning_rate": 2e-4}}, "learning_rate", ("0.0001", "0.0002"), "confound"),
        ({"settings": {**BASE, "gradient_accumulation_steps": 2}}, "effective batch size", ("8", "16"), "confound"),
        ({"settings": {**BASE, "packing": True}}, "packing", ("default", "true"), "confound"),
        ({"lora_alpha": 64.0}, "scale alpha/r", ("2", "4"), "confound"),
        ({"steps": 99}, "steps", ("60", "99"), "confound"),
        ({"tokens": 99}, "tokens", ("1000", "99"), "confound"),
        ({"device_name": "B"}, "device", ("A", "B"), "confound"),
        ({"provenance": {"versions": {"torch": "3"}}}, "version of torch", ("2", "3"), "confound"),
        (
            {"provenance": {"versions": {"torch": "2"}, "data_fingerprint": "y"}},
            "data_fingerprint",
            ("x", "y"),
            "confound",
        ),
        ({"attempts": 2}, "attempts", ("1", "2"), "cost"),
        ({"process_reused": True}, "process_reused", ("false", "true"), "cost"),
    ],
)
def test_whatever_differs_is_a_warning_by_name_and_value(
    tmp_path: Path, changed: dict[str, Any], name: str, values: tuple[str, str], kind: str
) -> None:
    same: dict[str, Any] = {
        "settings": BASE,
        "steps": 60,
        "tokens": 1000,
        "device_name": "A",
        "attempts": 1,
        "process_reused": False,
        "provenance": {"versions": {"torch": "2"}, "data_fingerprint": "x"},
    }
    rows = [row("a", 8, **{"lora_alpha": 16.0, **same}), row("b", 16, **{"lora_alpha": 32.0, **same, **changed})]
    found = next(one for one in of_rows(tmp_path, rows).differences if one.name == name)
    assert dict(found.values) == {values[0]: ("r=8",), values[1]: ("r=16",)}
    assert found.kind == kind
    assert name in analysis.render(of_rows(tmp_path, rows), "table")


def test_nothing_differs_where_only_rank_and_seed_do(tmp_path: Path) -> None:
    rows = [
        row(f"r{rank}-s{seed}", rank, seed, lora_alpha=2.0 * rank, tokens=1000 + seed, settings={**BASE, "seed": seed})
        for rank in (8, 16)
        for seed in (0, 1)
    ]
    assert of_rows(tmp_path, rows).differences == ()


def test_full_fine_tuning_is_not_blamed_for_its_missing_adapter_settings(tmp_path: Path) -> None:
    rows = [row("a", 8, settings={**BASE, "lora_dropout": 0.1}), row("b", None, settings=BASE)]
    assert of_rows(tmp_path, rows).differences == ()


def test_an_axis_is_named_as_meant(tmp_path: Path) -> None:
    rows = [row(name, settings={"learning_rate": rate}) for name, rate in (("a", 1e-4), ("b", 2e-4))]
    found = of_rows(tmp_path, rows, axes=[{"learning_rate": 1e-4}, {"learning_rate": 2e-4}])
    assert [(one.name, one.kind) for one in found.differences] == [("learning_rate", "axis")]
    assert [one.label for one in found.configurations] == ["r=8, learning_rate=0.0001", "r=8, learning_rate=0.0002"]


def test_a_column_that_a_later_version_added_is_no_axis(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "toy"))
    store.write_sweep({"axes": {"packing": [True]}, "trials": []})
    store.write_trial(row(), {"packing": True, "novelty": 1})
    loaded = sweep.load(store.location)
    assert loaded.axes == ("packing",)
    assert list(loaded.trials["novelty"]) == [1]


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
    assert found.configurations[0].peak_memory_allocated_bytes is None


# --- forms -----------------------------------------------------------------------------------------------------------


def names_in(value: Any) -> set[str]:
    """Field names of the dataclasses in an answer, through all levels."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return set(fields).union(*(names_in(one) for one in fields.values()))
    if isinstance(value, tuple):
        return set().union(*(names_in(one) for one in value))
    return set()


def test_every_name_of_the_json_is_documented(tmp_path: Path) -> None:
    rows = [
        row("a", 8, eval_loss=1.001, steps=1, train_runtime=1.0),
        row("b", 16, eval_loss=1.0, steps=2, train_runtime=2.0),
        row("c", 32, status="oom"),
    ]
    names = names_in(of_rows(tmp_path, rows))
    assert {"models_different", "values", "reason", "suggestions", "memory", "directions"} <= names
    documented = set(re.findall(r"`(\w+)`", Path("docs/answer.md").read_text()))
    assert names <= documented


def test_json_has_every_number_and_no_nan(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = of_csv(tmp_path, REPORT)
    parsed = json.loads(analysis.render(found, "json"), parse_constant=refuse)
    assert parsed["configurations"][1]["train_loss"] == 1.7855897097727924
    assert parsed["recommendation"]["label"] == "r=128"


def test_csv_has_a_row_per_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analysis.main(["--from_csv", csv_file(tmp_path, REPORT), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "no held-out loss" in err
    (tmp_path / "again.csv").write_text(out)
    assert pa_csv.read_csv(tmp_path / "again.csv").column("lora_r").to_pylist() == [8, 128, 256]


def test_markdown_escapes_what_a_name_may_hold(tmp_path: Path) -> None:
    rows = [row("a"), row("b")]
    found = of_rows(tmp_path, rows, axes=[{"model": "<script>|x"}, {"model": "*b*"}])
    text = analysis.render(found, "markdown")
    assert "<script>" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_a_table_keeps_to_the_width_and_to_plain_text_off_a_terminal(tmp_path: Path) -> None:
    found = of_csv(tmp_path, REPORT)
    text = analysis.render(found, "table", width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "\x1b" in analysis.render(found, "table", color=True)
    assert text.count("r=128") >= 2


def test_names_in_brackets_are_text_to_the_table(tmp_path: Path) -> None:
    found = of_rows(tmp_path, [row("a"), row("b")], axes=[{"model": "[red]x[/red]"}, {"model": "y"}])
    assert "[red]x[/red]" in analysis.render(found, "table")


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
