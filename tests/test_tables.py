import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pytest

from sweep import analysis
from sweep.show.page import render_html
from sweep.store.columns import METRICS
from tests.answers import REPORT, csv_file, of_csv, of_rows, row


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
    found = of_rows(tmp_path, rows)
    names = names_in(found)
    assert {"models_different", "values", "reason", "suggestions", "memory", "directions"} <= names
    documented = set(re.findall(r"`(\w+)`", Path("docs/answer-reference.md").read_text()))
    assert names <= documented
    (results,) = {tuple(one.results) for one in found.configurations}
    spreads = [f"{column.name}_sd" for column in METRICS.values() if column.shown_as.spread]
    assert set(results) == {*METRICS, *spreads} and set(spreads) <= documented
    kept = [name for name in json.loads(analysis.render(found, "json"))["configurations"][0] if name in results]
    assert kept == list(results)


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


def predictions(folder: Path, *rows: dict[str, Any]) -> tuple[str, dict[int, Any]]:
    """The table's heading and lines, and the configurations of the JSON, by rank."""
    found = of_rows(folder, list(rows))
    of_json = json.loads(analysis.render(found, "json"))["configurations"]
    return analysis.render(found, "markdown"), {one["lora_r"]: one for one in of_json}


def test_a_prediction_stands_beside_the_measured_peak_with_its_error(tmp_path: Path) -> None:
    def peaks(predicted: int, measured: int | None) -> dict[str, Any]:
        return {"predicted_peak_memory_bytes": predicted, "peak_memory_allocated_bytes": measured}

    table, found = predictions(
        tmp_path,
        row("a-0", 8, 0, **peaks(3_060_000_000, 2_900_000_000)),
        row("a-1", 8, 1, **peaks(3_060_000_000, 3_000_000_000)),
        row("b-0", 32, 0, **peaks(3_800_000_000, 4_000_000_000)),
        row("c-0", 64, 0, status="rejected", error_message="too large", **peaks(90_000_000_000, None)),
    )
    assert "| peak GPU memory | predicted peak GPU memory | off by |" in table
    assert "| 3.00 GB | 3.06 GB | +3.8 % |" in table, "the mean of its trials"
    assert "| 4.00 GB | 3.80 GB | −5.0 % |" in table
    assert "| – | 90.00 GB | – |" in table, "a prediction alone is off by nothing that is known"
    sweep = analysis.load(str(tmp_path / "toy"))
    page = " ".join(
        re.sub(r"<[^>]+>", " ", render_html(sweep, analysis.answer(sweep)).rpartition("</script>")[0]).split()
    )
    assert "3.00 GB 3.06 GB +3.8 %" in page and "too large" in page, "the page shows the same"
    assert found[8]["predicted_peak_memory_bytes"] == 3_060_000_000
    assert found[8]["predicted_peak_memory_error"] == pytest.approx((306 / 290 + 306 / 300) / 2 - 1)
    assert found[32]["predicted_peak_memory_error"] == pytest.approx(-0.05)
    assert found[64]["predicted_peak_memory_bytes"] == 90_000_000_000
    assert found[64]["predicted_peak_memory_error"] is None


def test_a_prediction_is_not_compared_with_a_processs_memory(tmp_path: Path) -> None:
    cpu = {"predicted_peak_memory_bytes": 3_060_000_000, "peak_rss_bytes": 1_000_000_000}
    table, found = predictions(tmp_path, row("a", 8, **cpu), row("b", 32, **cpu))
    assert "| 1.00 GB | 3.06 GB |" in table
    assert found[8]["predicted_peak_memory_error"] is None


def test_without_predictions_there_is_no_column_for_them(tmp_path: Path) -> None:
    table, found = predictions(tmp_path, row("a", 8), row("b", 32))
    assert "predicted" not in table and found[8]["predicted_peak_memory_bytes"] is None
