"""ASHA on real Ray: trials that are worse than others at the same step are stopped early, and leave what they measured."""

import pytest

from sweep.grid import main
from sweep.store.store import Store


@pytest.mark.usefixtures("ray_here")
def test_ranks_that_fall_behind_are_pruned_and_the_answer_says_so(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--storage_path", store, "--name", "one", "--trainable", "trainables.synthetic:Synthetic"]
    words += ["--max_steps", "120", "--step_time_s", "0.05", "--lora_r", "512", "16", "2", "1"]
    words += ["--max_concurrent_trials", "1", "--scheduler", "asha", "--asha_reduction_factor", "2"]
    assert main(words) == 0
    rows = {row["lora_r"]: row for row in Store(f"{store}/one").trials().to_pylist()}
    assert {rank: row["status"] for rank, row in rows.items()} == {
        512: "completed", 16: "pruned", 2: "pruned", 1: "pruned",
    }  # fmt: skip
    assert rows[512]["steps"] == 120 and rows[512]["eval_loss"] and rows[512]["checkpoint"]
    frame = Store(f"{store}/one").steps().to_pandas()
    for rank, row in rows.items():
        mine = frame[frame.trial_id == row["trial_id"]].step.tolist()
        assert mine == list(range(1, row["steps"] + 1))
        if rank == 512:
            assert row["pruned_step"] is row["pruned_metric"] is row["pruned_value"] is None
            continue
        assert 10 <= row["steps"] < 120 and row["train_loss"] and row["eval_loss"] is None
        decided = frame[(frame.trial_id == row["trial_id"]) & (frame.step == row["pruned_step"])]
        assert row["pruned_step"] >= 10 and row["pruned_metric"] == "loss"
        assert decided.loss.tolist() == [row["pruned_value"]]
    said = capsys.readouterr()
    assert "stopped early by the scheduler, so not trained as long as the others" in " ".join(said.out.split())
    assert main(words) == 0  # pruned is done
    assert all(row["attempts"] == 1 for row in Store(f"{store}/one").trials().to_pylist())
