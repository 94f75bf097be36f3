import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pytest

from sweep import analysis
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
    documented = set(re.findall(r"`(\w+)`", Path("docs/answer.md").read_text()))
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
