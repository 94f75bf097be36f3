import json
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep import analysis
from sweep.show.page import render_html
from sweep.store.store import Store
from tests.answers import of_rows, row

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
        ({"process_reused": True}, "process_reused", ("false", "true"), "neutral"),
        ({"gpus_per_trial": 0.5}, "gpus_per_trial", ("1", "0.5"), "cost"),
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
        "gpus_per_trial": 1.0,
        "provenance": {"versions": {"torch": "2"}, "data_fingerprint": "x"},
    }
    rows = [row("a", 8, **{"lora_alpha": 16.0, **same}), row("b", 16, **{"lora_alpha": 32.0, **same, **changed})]
    found = next(one for one in of_rows(tmp_path, rows).differences if one.name == name)
    assert dict(found.values) == {values[0]: ("r=8",), values[1]: ("r=16",)}
    assert found.kind == kind
    printed = analysis.render(of_rows(tmp_path, rows), "table")
    assert (name in printed) == (kind != "neutral")


def test_a_used_process_is_no_warning_but_stands_under_what_differed(tmp_path: Path) -> None:
    """A fresh process and a used one compute the same bits: tests/integration/test_reuse.py."""
    rows = [row("a", 8, process_reused=False), row("b", 16, process_reused=True)]
    found = of_rows(tmp_path, rows)
    for form in ("table", "markdown"):
        assert "process_reused" not in analysis.render(found, form)
    said = json.loads(analysis.render(found, "json"))["differences"]
    assert [(one["name"], one["kind"]) for one in said] == [("process_reused", "neutral")]
    page = render_html(analysis.load(str(tmp_path / "toy")), found)
    section = page[page.index('id="differences"') : page.index('id="provenance"')]
    assert "process_reused differs: false (r=8); true (r=16). It was measured to change nothing." in section
    assert "Nothing but rank and seed differed" not in section
    assert section.index("<h3>Warnings") < section.index("<h3>Without effect") < section.index("process_reused")


@pytest.mark.parametrize(("shares", "said"), [((0.5, 0.5), "0.5"), ((0.25, 0.5), "0.25 and 0.5"), ((1.0, 1.0), None)])
def test_times_of_shared_gpus_are_said_to_be_such(
    tmp_path: Path, shares: tuple[float, float], said: str | None
) -> None:
    rows = [row(name, rank, gpus_per_trial=share) for name, rank, share in zip("ab", (8, 16), shares, strict=True)]
    warned = [text for text in of_rows(tmp_path, rows).warnings if "shared GPUs" in text]
    assert len(warned) == (said is not None)
    assert all(f"(--gpus_per_trial {said})" in text for text in warned)


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
    assert [one.label for one in found.configurations] == ["r=8 learning_rate=0.0001", "r=8 learning_rate=0.0002"]


def test_a_column_that_a_later_version_added_is_no_axis(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "toy"))
    store.write_sweep({"axes": {"packing": [True]}, "trials": []})
    store.write_trial(row(), {"packing": True, "novelty": 1})
    loaded = sweep.load(store.location)
    assert loaded.axes == ("packing",)
    assert list(loaded.trials["novelty"]) == [1]


def test_how_often_checkpoints_are_saved_differs_only_where_the_best_is_chosen_from_them(tmp_path: Path) -> None:
    for chosen in (False, True):
        best = {**BASE, "load_best_model_at_end": True} if chosen else BASE
        rows = [row(name, rank, settings={**best, "save_steps": rank}) for name, rank in (("a", 8), ("b", 16))]
        found = [one.name for one in of_rows(tmp_path / str(chosen), rows).differences]
        assert found == (["save_steps"] if chosen else [])
