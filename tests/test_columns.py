"""A column is named once: its unit, label and direction reach every place from there."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sweep import analysis
from sweep.answer.costs import TOLERANCE
from sweep.common.column import Metric, is_shown
from sweep.show.page import render_html
from sweep.store.columns import COSTS, METRICS, STEP_METRICS, STEPS, TABLES, TRIALS, markdown
from sweep.store.store import Store
from tests.answers import row
from tests.test_report import figures

OWN = {column.name: column for column in TRIALS}
OF_STEPS = {column.name: column for column in STEPS}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two ranks with a rate, and a gradient norm on every second step."""
    store = Store(str(tmp_path / "toy"))
    store.write_sweep({"axes": {}, "trials": []})
    for rank, rate in ((8, 5200.0), (16, 4100.0)):
        store.write_trial(row(f"r{rank}", rank, tokens_per_second=rate, train_loss=2.0 - rank / 100), {})
        norms = {1: 0.5, 2: None, 3: 0.5, 4: None}
        steps = [{"trial_id": f"r{rank}", "step": step, "loss": 2.0, "grad_norm": norm} for step, norm in norms.items()]
        store.write_step_part(f"r{rank}", 1, 0, steps)
    return store


def test_a_declared_metric_reaches_every_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Metric("tokens/s", "max", shown=("table", "front", "bars"))
    monkeypatch.setitem(METRICS, "tokens_per_second", replace(OWN["tokens_per_second"], metric=rate))
    norm = Metric("gradient norm", None, shown=("curves",))
    monkeypatch.setitem(STEP_METRICS, "grad_norm", replace(OF_STEPS["grad_norm"], metric=norm))
    sweep = analysis.load(store.location)
    found = analysis.answer(sweep)
    first = json.loads(analysis.render(found, "json"))["configurations"][0]
    assert first["tokens_per_second"] == 5200.0
    assert next(csv.DictReader(io.StringIO(analysis.render(found, "csv"))))["tokens_per_second"] == "5200.0"
    heading, _, cells, _ = (line for line in analysis.render(found, "markdown").splitlines() if line.startswith("|"))
    assert heading.split()[-2] == "tokens/s" and cells.split()[-2] == "5,200"
    (front,) = found.fronts
    assert front.metrics == ("loss", "tokens_per_second") and front.directions == ("min", "max")
    plots = figures(render_html(sweep, found))
    assert plots["bars-tokens_per_second"]["data"][0]["text"] == ["5,200", "4,100"]
    assert plots["front-tokens_per_second"]["layout"]["xaxis"]["title"]["text"] == "tokens/s"
    curve = plots["curve-grad_norm"]
    assert curve["layout"]["yaxis"]["title"]["text"] == "gradient norm"
    assert (curve["data"][0]["x"], curve["data"][0]["y"]) == ([1, 3], [0.5, 0.5])


def test_a_metric_that_nobody_measured_has_no_place_but_the_json(store: Store) -> None:
    sweep = analysis.load(store.location)
    found = analysis.answer(sweep)
    assert found.configurations[0].results["train_runtime"] is None and found.fronts == ()
    assert "training time" not in analysis.render(found, "table")
    assert list(figures(render_html(sweep, found))) == ["ranks", "loss"]


def test_one_metric_stands_in_for_another_where_nobody_measured_that() -> None:
    host, gpu = METRICS["peak_rss_bytes"], "peak_memory_allocated_bytes"
    assert is_shown(host, "table") and not is_shown(host, "table", [gpu]) and not is_shown(host, "bars")


def test_what_the_declarations_name_is_there() -> None:
    assert set(COSTS.values()) <= METRICS.keys() and TOLERANCE.keys() == COSTS.keys()
    for metrics in (METRICS, STEP_METRICS):
        named = {column.shown_as.instead_of for column in metrics.values()}
        assert named <= {"", *metrics}
    for columns in TABLES.values():
        assert len({column.name for column in columns}) == len(columns)


def test_a_name_that_says_its_unit_says_the_columns() -> None:
    for columns in TABLES.values():
        for column in columns:
            if column.name.endswith(("_bytes", "_s")):
                assert column.unit == {"bytes": "bytes", "s": "s"}[column.name.rsplit("_", 1)[1]], column.name


def test_the_page_says_unit_and_direction() -> None:
    page = markdown()
    assert "| `train_samples_per_second` | double | 1/s | higher | samples trained on" in page
    assert "| `bits_per_byte` | double | bits/byte | lower |" in page
    assert "| `lora_r` | int64 |  |  | LoRA rank; null for full fine-tuning |" in page
