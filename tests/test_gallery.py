"""The gallery's page, record and comparison; tests/integration/test_gallery.py runs a row."""

import copy
import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gallery import __main__ as gallery
from benchmarks.gallery import record
from benchmarks.gallery.bits import bits_of_trials, differences
from benchmarks.gallery.page import page
from benchmarks.gallery.rows import ROWS
from sweep import analysis
from sweep.config.layers import resolve
from sweep.store.store import Store
from tests.answers import row
from tests.test_report import make


def test_the_page_is_made_of_the_record() -> None:
    assert record.PAGE.read_text(encoding="utf-8") == page(ROWS, record.read())


@pytest.mark.parametrize("one", ROWS, ids=lambda one: one.name)
def test_what_is_recorded_is_what_the_command_trains(one: Any) -> None:
    """A row whose command or preset was changed is to be run again."""
    config, problems = resolve(one.flags, cuda=False)
    assert config and not problems
    found = record.read()[one.name]
    assert found["flags"] == shlex.join(one.flags)
    may_be = {trial.trial_id for trial in config.trials()}
    assert found["trials"].keys() <= may_be if config.chooses else found["trials"].keys() == may_be
    assert one.asks and one.teaches


def store_of(folder: Path, losses: list[float], held_out: float = 2.0) -> Store:
    store = Store(str(folder))
    store.write_sweep({"axes": {}, "trials": []})
    times = [{"trial_id": "r8-s0", "attempt": 1, "step": step} for step in range(1, 1 + len(losses))]
    store.write_step_part("r8-s0", 1, 1, [{**one, "loss": loss} for one, loss in zip(times, losses, strict=True)])
    store.write_evals("r8-s0", [{"trial_id": "r8-s0", "example_id": 0, "loss_sum": held_out, "tokens": 1}])
    store.write_trial(row(train_loss=1.5), {})
    return store


def bits(store: Store) -> Any:
    return bits_of_trials(analysis.load(store.location))["r8-s0"]


def test_the_last_bit_of_any_loss_counts(tmp_path: Path) -> None:
    same = bits(store_of(tmp_path / "a", [3.0, 2.0, 1.0]))
    assert bits(store_of(tmp_path / "b", [3.0, 2.0, 1.0])) == same
    step = bits(store_of(tmp_path / "c", [3.0, math.nextafter(2.0, 3), 1.0]))
    example = bits(store_of(tmp_path / "d", [3.0, 2.0, 1.0], held_out=math.nextafter(2.0, 3)))
    assert [key for key in same if step[key] != same[key]] == ["steps"]
    assert [key for key in same if example[key] != same[key]] == ["examples"]
    assert bits(store_of(tmp_path / "e", [3.0, 2.0, math.nan]))["eval_loss"] == 2.0


def test_a_sweeps_bits_are_those_of_its_files_in_any_order(tmp_path: Path) -> None:
    store = make(tmp_path, configurations=2, seeds=2, steps=5)
    found = bits_of_trials(analysis.load(store.location))
    assert len({one["steps"] for one in found.values()}) == len({one["examples"] for one in found.values()}) == 4
    assert json.loads(json.dumps(found)) == found


FOUND = {
    "flags": "--preset demo --name demo",
    "minutes": 1.5,
    "load": 0.1,
    "pick": "r=32",
    "decided": True,
    "losses": {"r=8": 2.96, "r=32": None},
    "answer": ["### demo", "", "Take r=32."],
    "trials": {"r8-s0": {"status": "completed", "train_loss": 3.0, "eval_loss": 0.1 + 0.2, "steps": "ab", "examples": "cd"}},
    "machine": {"cpu": {"name": "A CPU", "cores": 2}, "versions": {"python": "3.11", "torch": "2"}},
}  # fmt: skip


def test_every_difference_is_named() -> None:
    recorded = json.loads(json.dumps(FOUND))
    assert differences(recorded, FOUND) == []
    assert differences(None, FOUND) == ["not recorded"]
    other: Any = copy.deepcopy(FOUND)
    other["trials"]["r8-s0"]["eval_loss"] = 0.3
    other["machine"]["versions"]["torch"] = "3"
    other["minutes"] = 7.0
    assert differences(recorded, other)[1:] == ["r8-s0 eval_loss: 0.30000000000000004 became 0.3"]
    assert differences(recorded, other)[0].startswith("machine: ")
    other = {**FOUND, "pick": "r=8", "trials": {"r2-s0": {}}}
    assert [one.partition(":")[0] for one in differences(recorded, other)] == ["pick", "r2-s0", "r8-s0"]


def test_the_page_has_command_machine_minutes_and_answer() -> None:
    text = page(ROWS, {"demo": FOUND})
    assert "python -m sweep.grid --preset demo --name demo\n" in text
    assert "| [demo](#demo) | r=32, decided | r=8: 2.9600, r=32: diverged | 1.5 |" in text
    assert "On A CPU, 2 cores, no GPU; python 3.11, torch 2.\n\nTake r=32.\n" in text
    assert "other work" not in text
    busy = page(ROWS, {"demo": {**FOUND, "load": 0.9}})
    assert "| 1.5 \\* |" in busy and "other work" in busy


def test_a_resumed_row_keeps_its_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RECORD", tmp_path / "gallery.json")
    monkeypatch.setattr(record, "PAGE", tmp_path / "gallery.md")
    resumed = {key: value for key, value in FOUND.items() if key not in ("minutes", "load")}
    record.write("demo", resumed)
    assert record.read()["demo"]["minutes"] is None
    assert "| – |" in (tmp_path / "gallery.md").read_text()
    record.write("demo", FOUND)
    record.write("demo", {**resumed, "pick": "r=8"})
    assert record.read()["demo"] == {**FOUND, "pick": "r=8"}


def test_a_check_runs_a_row_again_even_where_the_recorded_sweep_is_still_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the folder of the recording the command would only resume it, and compare it with itself."""
    folders: list[str] = []

    def run(one: Any, folder: str) -> Any:
        folders.append(folder)
        assert gallery.FOLDER not in folder and not any(Path(folder).iterdir())
        return record.read()[one.name]

    monkeypatch.setattr(gallery, "run", run)
    assert gallery.main(["demo", "--check"]) == 0
    assert len(folders) == 1 and not Path(folders[0]).exists()
