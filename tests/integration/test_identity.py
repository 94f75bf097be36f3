"""Models and data as axes, and models and data that change under a sweep's feet."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis
from sweep.grid import main
from sweep.store.store import Store
from tests import toys
from tests.integration.test_sweep import words

FEW = ("--max_steps", "1", "--lora_r", "2", "--lora_target_modules", "all-linear")


def rows_of(store: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Store(f"{store}/one").trials().to_pylist()
    return [{**row, "provenance": json.loads(row["provenance"])} for row in found]


@pytest.mark.usefixtures("ray_here")
def test_a_data_set_is_added_to_an_axis_and_one_that_changed_is_refused_also_when_all_is_done(
    llama: str, rows_file: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(Path(rows_file).read_text())
    for name, some in (("a.json", rows[:40]), ("b.json", rows[20:])):
        (tmp_path / name).write_text(json.dumps(some))
    a, b, model = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "model"
    shutil.copytree(llama, model)

    def run(axis: str) -> int:
        return main(words(str(model), str(a), store, *FEW, "--grid", f"dataset_name={axis}"))

    assert run(str(a)) == 0
    assert run(f"{a},{b}") == 0  # as after an interrupt between the two
    found = {row["dataset_name"]: row["provenance"]["data_fingerprint"] for row in rows_of(store)}
    assert len(found) == len(set(found.values())) == 2

    capsys.readouterr()
    good = b.read_text()
    b.write_text(json.dumps(rows[19:]))
    assert run(f"{a},{b}") == 2  # every trial is done
    refused = capsys.readouterr()
    assert f'data_fingerprint of {b} (test_split_size=10): "{found[str(b)]}" there, "' in refused.err
    assert "Take r=" not in refused.out
    b.write_text(good)
    assert run(f"{a},{b}") == 0
    toys.model(model, "gpt2")
    assert run(f"{a},{b}") == 2
    assert f"model_fingerprint of {model}: " in capsys.readouterr().err


@pytest.mark.usefixtures("ray_here")
def test_models_with_tokenizers_of_their_own_are_compared_in_bits_per_byte(
    llama: str, rows_file: str, store: str, tmp_path: Path
) -> None:
    other = toys.model(tmp_path / "other", "gpt2")
    toys.tokenizer(other, vocabulary=300)
    command = words(llama, rows_file, store, *FEW, "--grid", f"model_name_or_path={llama},{other}")
    assert main(command) == 0
    rows = {row["model_name_or_path"]: row["provenance"] for row in rows_of(store)}
    assert rows.keys() == {llama, str(other)}
    for kind in ("tokenizer", "model_fingerprint"):
        assert len({row[kind] for row in rows.values()}) == 2
    assert len({row["data_fingerprint"] for row in rows.values()}) == 1
    found = analysis.answer(analysis.load(f"{store}/one"), margin=0.005)
    assert found.metric == "bits_per_byte"
    meant = {one.name: one.kind for one in found.differences}
    assert meant["tokenizer"] == meant["model_fingerprint"] == "axis"
