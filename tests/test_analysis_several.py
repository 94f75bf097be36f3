"""`python -m sweep.analysis A B`: sweeps in one table, compared where their data are the same; and the answer as Parquet."""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sweep import analysis
from sweep.answer.answer import Answer
from sweep.errors import SweepError
from sweep.show.cells import cells
from sweep.show.tables import render
from sweep.store.store import Store
from tests import tuned
from tests.answers import row
from tests.simulate import Design, losses, write

QUIET = Design((0.02, 0.0), 3, 100, training_noise=0.0005, interaction=0.002, rest=0.002)


def made(
    folder: Path,
    design: Design = QUIET,
    *,
    data: str | None = "rows-1",
    tokenizer: str = "bpe",
    settings: Mapping[str, Any] | None = None,
    margin: float | None = None,
    shift: float = 0.0,
    noise: float = 0.0,
) -> str:
    """A finished sweep of r=4, r=8, … on the same held-out examples.

    Args:
        shift: of every log loss, against another sweep of the same design.
        noise: of each run's log loss, the sweep's own.
    """
    store = Store(str(folder))
    sums, tokens = losses(design, 1, np.random.default_rng(0))
    own = np.random.default_rng(1).normal(shift, noise, (*sums.shape[1:3], 1))
    write(store, sums[0] * np.exp(own), tokens[0])
    provenance = {"tokenizer": tokenizer, **({"data_fingerprint": data} if data else {})}
    for one in store.trials().to_pylist():
        new = {
            "provenance": json.dumps(provenance),
            "settings": json.dumps({"learning_rate": 1e-4, **(settings or {})}),
        }
        store.write_trial({**one, **new}, {})
    if margin is not None:
        store.write_sweep({**store.read_sweep(), "margin": margin})
    return store.location


def compare(*places: str) -> Answer:
    return analysis.compare([analysis.load(place) for place in places])


def labels(found: Answer) -> list[str]:
    return [one.label for one in found.configurations]


# --- the same data ---------------------------------------------------------------------------------------------------


def test_sweeps_of_the_same_data_are_compared_with_each_other(tmp_path: Path) -> None:
    """B's model is 5 % worse at every rank: its best rank is not within the margin of A's."""
    found = compare(
        made(tmp_path / "a"), made(tmp_path / "b", shift=0.05, noise=0.0005, settings={"model_name_or_path": "small"})
    )
    assert found.name == "a, b"
    assert labels(found) == ["r=4 sweep=a", "r=4 sweep=b", "r=8 sweep=a", "r=8 sweep=b"]
    assert found.basis == "seeds" and found.recommendation and found.recommendation.decided
    assert found.recommendation.label == "r=8 sweep=a" and found.recommendation.trial_id.startswith("a/")
    beside = found.configuration("r=8 sweep=b").comparison
    assert beside and beside.verdict == "worse" and beside.different and beside.seeds == 3
    assert beside.lower is not None and beside.upper is not None and beside.lower < np.expm1(0.05) < beside.upper


def test_what_differs_between_sweeps_is_named_with_the_configurations(tmp_path: Path) -> None:
    found = compare(
        made(tmp_path / "a", settings={"model_name_or_path": "large"}),
        made(tmp_path / "b", settings={"model_name_or_path": "small", "learning_rate": 2e-4}),
    )
    differing = {one.name: one for one in found.differences}
    assert differing["model_name_or_path"].kind == differing["learning_rate"].kind == "confound"
    assert differing["model_name_or_path"].values["small"] == ("r=4 sweep=b", "r=8 sweep=b")
    assert "learning_rate differs" in analysis.render(found)


def test_the_same_sweep_on_another_day_is_tied_with_itself(tmp_path: Path) -> None:
    """The same trials have the same ids, and the same losses: two configurations all the same, neither called better."""
    found = compare(made(tmp_path / "monday" / "demo"), made(tmp_path / "tuesday" / "demo"))
    assert found.name == "monday/demo, tuesday/demo"  # as much of the path as tells them apart
    assert found.statuses == {"completed": 12}
    pick = found.recommendation
    assert pick and pick.label == "r=8 sweep=monday/demo" and pick.tied == ("r=8 sweep=tuesday/demo",)


def test_bounds_over_several_sweeps_allow_for_all_their_configurations(tmp_path: Path) -> None:
    """As one sweep with twice the configurations would have them: the sweep is an axis like any other."""
    places = [made(tmp_path / "a"), made(tmp_path / "b", shift=0.05)]
    store = Store(str(tmp_path / "both"))
    store.write_sweep({"axes": {"sweep": ["a", "b"]}, "trials": []})
    for place, name in zip(places, "ab", strict=True):
        for one in Store(place).trials().to_pylist():
            store.write_trial({**one, "trial_id": f"{name}-{one['trial_id']}"}, {"sweep": name})
        for trial_id, rows in Store(place).evals().to_pandas().groupby("trial_id"):
            renamed = f"{name}-{trial_id}"
            records = rows[["example_id", "loss_sum", "tokens"]].to_dict("records")
            store.write_evals(renamed, [{**one, "trial_id": renamed} for one in records])
    one = analysis.answer(analysis.load(store.location))
    several = compare(*places)
    assert [one.comparison for one in several.configurations] == [one.comparison for one in one.configurations]


def test_tokenizers_that_differ_are_compared_in_bits_per_byte(tmp_path: Path) -> None:
    """B has twice the tokens for the same text, so its loss per token is half of A's, and its bits per byte the same."""
    places = [made(tmp_path / "a"), made(tmp_path / "b", tokenizer="bytes")]
    for place, factor in zip(places, (1, 2), strict=True):
        store = Store(place)
        for trial_id, rows in store.evals().to_pandas().groupby("trial_id"):
            records = rows[["trial_id", "example_id", "loss_sum", "tokens"]].to_dict("records")
            changed = [{**one, "bytes": one["tokens"] * 4, "tokens": one["tokens"] * factor} for one in records]
            store.write_evals(str(trial_id), changed)
    found = compare(*places)
    assert found.metric == "bits_per_byte"
    assert found.configuration("r=8 sweep=a").loss == pytest.approx(found.configuration("r=8 sweep=b").loss)
    assert found.recommendation and "sweep=b" in found.recommendation.tied[0]


def test_examples_cut_at_another_length_are_not_the_same_text(tmp_path: Path) -> None:
    """B saw the first 50 examples whole and half of the others, on which alone it is better."""
    places = [made(tmp_path / "a"), made(tmp_path / "b")]
    store = Store(places[1])
    for trial_id, rows in store.evals().to_pandas().groupby("trial_id"):
        records = rows[["trial_id", "example_id", "loss_sum", "tokens"]].to_dict("records")
        for one in records[50:]:
            one.update(tokens=max(1, one["tokens"] // 2), loss_sum=one["loss_sum"] / 4)
        store.write_evals(str(trial_id), records)
    found = compare(*places)
    assert any(line.startswith("50 of 100 held-out examples are longer in some trials") for line in found.warnings)
    comparison = found.configuration("r=8 sweep=b").comparison
    assert comparison and comparison.examples == 50 and comparison.difference == 0


# --- other data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [("rows-1", "rows-2"), ("rows-1", None), (None, None)], ids=["other", "one not recorded", "not recorded"]
)
def test_losses_over_other_data_are_never_compared(tmp_path: Path, data: tuple[str | None, str | None]) -> None:
    """B's data are far easier; each sweep keeps its own answer, in one table."""
    easier = replace(QUIET, effects=(0.0, 0.02))
    places = made(tmp_path / "a", data=data[0]), made(tmp_path / "b", easier, data=data[1], shift=-1.0)
    found = compare(*places)
    assert labels(found) == ["r=4 sweep=a", "r=8 sweep=a", "r=4 sweep=b", "r=8 sweep=b"]
    assert found.recommendation is None
    assert [one.label for one in found.recommendations] == ["r=8 sweep=a", "r=4 sweep=b"]
    alone = [analysis.answer(analysis.load(place)) for place in places]
    assert [one.comparison for one in found.configurations] == [
        one.comparison for own in alone for one in own.configurations
    ]
    headings, rows = cells(found)
    assert any("a against b were not evaluated on the same data" in line for line in found.warnings)
    assert [row[headings.index("vs lowest")] for row in rows] == ["+2.0 %", "lowest", "lowest", "+2.0 %"]
    assert render(found, color=False).count("→") == 2
    for format in ("markdown", "table"):
        text = render(found, format)
        assert "a: Take r=8" in text and "b: Take r=4" in text


def test_sweeps_of_the_same_data_stay_together_beside_one_of_other_data(tmp_path: Path) -> None:
    found = compare(made(tmp_path / "a"), made(tmp_path / "b", data="rows-2"), made(tmp_path / "c", shift=0.05))
    assert [one.label for one in found.recommendations] == ["r=8 sweep=a", "r=8 sweep=b"]
    assert found.configuration("r=8 sweep=c").comparison.verdict == "worse"  # type: ignore[union-attr]
    assert any("a and c against b" in line for line in found.warnings)


def test_one_table_has_one_unit(tmp_path: Path) -> None:
    """Other data and another tokenizer: losses per token would stand in one column and mean different things."""
    found = compare(made(tmp_path / "a"), made(tmp_path / "b", data="rows-2", tokenizer="bytes"))
    assert found.metric == "bits_per_byte"
    assert all(one.loss == one.results["bits_per_byte"] for one in found.configurations)


# --- axes, tuned settings, margins, mistakes -------------------------------------------------------------------------


def test_an_axis_of_one_sweep_has_the_others_settings_in_the_other(tmp_path: Path) -> None:
    place, other = made(tmp_path / "a"), Store(str(tmp_path / "b"))
    other.write_sweep({"axes": {"weight_decay": [0.0, 0.1]}, "trials": []})
    for decay in (0.0, 0.1):
        other.write_trial(
            row(f"d{decay}", lora_alpha=16.0, provenance={"data_fingerprint": "rows-1"}), {"weight_decay": decay}
        )
    for one in Store(place).trials().to_pylist():
        Store(place).write_trial({**one, "settings": json.dumps({"weight_decay": 0.5})}, {})
    found = compare(place, other.location)
    assert "r=8 sweep=a weight_decay=0.5" in labels(found) and "r=8 sweep=b weight_decay=0.1" in labels(found)


def test_each_rank_of_each_tuned_sweep_is_compared_at_its_own_best(tmp_path: Path) -> None:
    """The bounds allow for every value that could have been chosen in either; an end of a ladder is of its own sweep."""
    tuned.write(Store(str(tmp_path / "a")))
    tuned.write(Store(str(tmp_path / "b")), ladder=[1e-4, 1e-1])
    for name in "ab":
        store = Store(str(tmp_path / name))
        for one in store.trials().to_pylist():
            axes = {"learning_rate": one.pop("learning_rate")}
            store.write_trial({**one, "provenance": json.dumps({"data_fingerprint": "rows-1"})}, axes)
    alone, found = (
        analysis.answer(analysis.load(str(tmp_path / "a"))),
        compare(str(tmp_path / "a"), str(tmp_path / "b")),
    )
    assert alone.tuned and found.tuned and found.tuned.tried == 2 * alone.tuned.tried
    assert len(found.compared) == 2 * len(alone.compared)
    assert "r=2 sweep=a learning_rate=0.01" in found.tuned.edges
    assert "r=2 sweep=b learning_rate=0.01" not in found.tuned.edges


def test_sweeps_that_tuned_different_settings_are_refused(tmp_path: Path) -> None:
    tuned.write(Store(str(tmp_path / "a")))
    store = tuned.write(Store(str(tmp_path / "b")))
    store.write_sweep({**store.read_sweep(), "tune": {"key": "lora_alpha", "ladder": [8, 16]}})
    with pytest.raises(SweepError, match="a tuned learning_rate and b tuned lora_alpha"):
        compare(str(tmp_path / "a"), store.location)


def test_a_rank_that_one_tuned_sweep_ended_without_is_named(tmp_path: Path) -> None:
    for name, tried in (("a", tuned.SMALL), ("b", tuned.SMALL[2:])):
        store = tuned.write(Store(str(tmp_path / name)), tried)
        record = store.read_sweep()
        store.write_sweep({**record, "axes": {**record["axes"], "lora_r": [2, 8, 32, "full"]}})
    found = compare(str(tmp_path / "a"), str(tmp_path / "b"))
    (line,) = [line for line in found.warnings if line.startswith("Requested but not trained")]
    assert "r=2 sweep=b." in line and "sweep=a" not in line


@pytest.mark.parametrize(("own", "margin"), [((0.01, 0.01), 0.01), ((0.01, 0.02), 0.005), ((None, 0.01), 0.005)])
def test_the_margin_is_the_sweeps_where_they_agree(
    own: tuple[float | None, float], margin: float, tmp_path: Path
) -> None:
    places = [made(tmp_path / name, margin=one) for name, one in zip("ab", own, strict=True)]
    assert compare(*places).margin == margin


def test_a_sweep_that_is_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = made(tmp_path / "a")
    assert analysis.main([place, f"{place}/"]) == 2
    assert "is named twice" in capsys.readouterr().err


def test_the_command_prints_one_table_and_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [made(tmp_path / "a"), made(tmp_path / "b", shift=0.05)]
    assert analysis.main([*places, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.count("| configuration |") == 1
    assert analysis.main([*places, "--format", "json"]) == 0
    assert {one["axes"]["sweep"] for one in json.loads(capsys.readouterr().out)["configurations"]} == {"a", "b"}


# --- Parquet, and files ----------------------------------------------------------------------------------------------


def test_parquet_has_the_answer_of_the_json_in_a_row_for_each_configuration(tmp_path: Path) -> None:
    found = compare(made(tmp_path / "a"), made(tmp_path / "b", shift=0.05))
    frame = pd.read_parquet(io.BytesIO(analysis.parquet(found)))
    assert list(frame["label"]) == labels(found)
    assert list(frame["loss"]) == [one.loss for one in found.configurations]
    assert list(frame["upper"]) == [one.comparison.upper for one in found.configurations if one.comparison]
    assert [list(one) for one in frame["trials"]] == [list(one.trials) for one in found.configurations]
    assert list(frame["sweep"]) == ["a", "b", "a", "b"]
    names = render(found, "csv").splitlines()[0].split(",")
    assert sorted(frame.columns) == sorted(names)


def test_parquets_types_do_not_depend_on_what_was_measured(tmp_path: Path) -> None:
    """Nothing was measured of a planned sweep; its columns are those of a finished one."""
    planned = Store(str(tmp_path / "planned"))
    trial = {"trial_id": "full-1", "method": "full", "lora_r": None, "lora_alpha": None, "seed": 0}
    planned.write_sweep({"axes": {}, "trials": [trial]})
    empty, whole = (
        pq.read_schema(io.BytesIO(analysis.parquet(analysis.answer(analysis.load(place)))))
        for place in (planned.location, made(tmp_path / "a"))
    )
    assert empty.equals(whole)


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "parquet"])
def test_output_is_the_file_that_standard_output_would_have_been(format: str, tmp_path: Path) -> None:
    place, file = made(tmp_path / "a"), tmp_path / "new" / "answer"
    command = [sys.executable, "-m", "sweep.analysis", place, "--format", format]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert analysis.main([place, "--format", format, "--output", str(file)]) == 0
    assert file.read_bytes() == printed
    assert [*file.parent.iterdir()] == [file]


def test_parquet_is_not_for_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = made(tmp_path / "a")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SystemExit) as end:
        analysis.main([place, "--format", "parquet"])
    assert end.value.code == 2 and "--output FILE" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_a_mistake_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert analysis.main([made(tmp_path / "a"), "--output", str(tmp_path / "file" / "answer")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("--output ") and len(said.splitlines()) == 1
