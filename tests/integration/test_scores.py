"""Scores from a command to its answer, with real Ray and a real trainer: one sweep for all of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis
from sweep.grid import main
from sweep.store.store import Store
from tests.integration.test_sweep import words


@pytest.mark.usefixtures("ray_here")
def test_a_sweep_scores_its_trials_once_and_says_what_it_did_not(
    llama: str, rows_file: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First a rank without scores, then one more with them: the finished one is not trained again, and is named."""
    further = tmp_path / "further.jsonl"
    further.write_text("".join(json.dumps({"text": "add the numbers " * (1 + n)}) + "\n" for n in range(5)))
    asked = ["--eval_dataset_name", str(further), "--eval_generation", "exact_match"]
    quick = ["--max_steps", "2", "--max_concurrent_trials", "1"]
    assert main(words(llama, rows_file, store, "--lora_r", "2", *quick)) == 0
    more = words(llama, rows_file, store, "--lora_r", "2", "4", "8", *quick, *asked)
    assert main([*more, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert f"Forgetting: loss before and after training on {further}: 5 rows." in said
    assert "Exact match: 10 held-out prompts to generate from after training." in said
    assert main(more) == 0
    place = Store(f"{store}/one")
    rows: dict[Any, Any] = {row["lora_r"]: row for row in place.trials().to_pylist()}
    assert [rows[rank]["attempts"] for rank in (2, 4, 8)] == [1, 1, 1]
    assert rows[2]["forgetting"] is None and rows[2]["exact_match"] is None and rows[2]["scoring_time_s"] is None
    scores = place.scores().to_pandas()
    for rank in (4, 8):
        own = scores[scores["trial_id"] == rows[rank]["trial_id"]]
        assert own.groupby("metric").size().to_dict() == {"exact_match": 10, "loss": 5}
        assert rows[rank]["forgetting"] is not None and 0 <= rows[rank]["exact_match"] <= 1
    before = scores[scores["metric"] == "loss"].pivot_table(index="example_id", columns="trial_id", values="before")
    assert (before.nunique(axis=1) == 1).all() and len(place.names("baselines", ".parquet")) == 1
    answer = analysis.answer(analysis.load(place.location))
    (line,) = [line for line in answer.warnings if "lack scores" in line]
    assert line.startswith("1 of 3 completed trials") and rows[2]["trial_id"] in line
    assert "forgetting" in analysis.render(answer, "table", width=300)
