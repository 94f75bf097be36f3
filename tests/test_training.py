"""One attempt of a trial, without Ray."""

from pathlib import Path
from typing import Any

import pytest

from sweep.space import trials
from sweep.store import Row
from tests.test_meters import FakeCuda
from tests.untuned import context_of, settings
from trainables.meters import Memory
from trainables.training import train

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

    from trainables import evaluate

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
