"""One attempt of a trial, without Ray."""

from pathlib import Path
from typing import Any

import pytest

from sweep.space import trials
from sweep.store.store import Row
from tests.test_meters import FakeCuda
from tests.untuned import context_of, settings
from trainables.training.meters import Memory
from trainables.training.train import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # peft asks under the old name
]


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_a_training_that_runs_out_of_memory_tells_the_peaks_that_it_reached(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator is a mock, as is the place where torch's own error comes from."""
    import torch

    from trainables.training import evaluate

    cuda, rows = FakeCuda(), []
    monkeypatch.setattr(Memory, "of", lambda device: Memory(cuda))

    def report(row: Row) -> None:
        rows.append(row)
        cuda.use(5_000)
        if where == "training":
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def run_out(*anything: Any) -> None:
        cuda.use(9_000)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(evaluate, "held_out", run_out)
    (trial,) = trials(settings(tmp_path), [8], [0], {}, "fixed")
    context = context_of(trial, tmp_path, report=report)
    with pytest.raises(torch.OutOfMemoryError):
        train(context)
    assert context.so_far["peak_memory_allocated_bytes"] == 5_000
    assert context.so_far["peak_memory_reserved_bytes"] == 5_000
    assert context.so_far["eval_peak_memory_allocated_bytes"] == (9_000 if where == "evaluation" else None)
    assert context.so_far["device"] == "cpu" and context.so_far["peak_rss_bytes"] > 0
    assert len(rows) == (1 if where == "training" else 2)
    assert (context.so_far.get("train_loss") is not None) == (where == "evaluation"), "what was trained stays"
    assert (context.so_far.get("train_runtime") is not None) == (where == "evaluation")
    assert (context.final is not None) == (where == "evaluation")


@pytest.mark.parametrize("fits", [3, 1, 0])
def test_an_evaluation_that_runs_out_of_memory_is_tried_with_half_its_batch(
    fits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from trainables.training import evaluate

    inner, sizes = evaluate._losses, []

    def losses(trainer: Any, examples: list[Any]) -> Any:
        sizes.append(len(examples))
        if len(examples) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(trainer, examples)

    (trial,) = trials({**settings(tmp_path), "per_device_eval_batch_size": 5}, [8], [0], {}, "fixed")
    (tmp_path / "whole").mkdir()
    (tmp_path / "half").mkdir()
    whole = train(context_of(trial, tmp_path / "whole"))
    monkeypatch.setattr(evaluate, "_losses", losses)
    context = context_of(trial, tmp_path / "half")
    if fits == 0:
        with pytest.raises(torch.OutOfMemoryError):
            train(context)
        assert sizes == [5, 2, 1]
    else:
        again = train(context)
        assert sizes == {3: [5, 2, 2, 1], 1: [5, 2, 1, 1, 1, 1, 1]}[fits]
        assert again["eval_loss"] == pytest.approx(whole["eval_loss"], rel=1e-6)
        assert again["train_loss"] == whole["train_loss"]
    assert "retrying with 2 at a time" in capsys.readouterr().out


def test_a_trial_says_what_it_does_before_its_first_step_and_after_its_last(tmp_path: Path) -> None:
    """In order, with the steps in between; of an evaluation how many rows are left, batch by batch."""
    said: list[Any] = []
    (trial,) = trials(settings(tmp_path) | {"per_device_eval_batch_size": 3}, [8], [0], {}, "fixed")
    context = context_of(trial, tmp_path, report=lambda row: said.append(row["step"]))
    context.phase = lambda phase, rows_left: said.append(phase if rows_left is None else rows_left)
    train(context)
    held_out = len(context.evals)
    assert said == ["loading the model", "first step", 1, 2, *range(held_out, 0, -3), "saving"]
