"""The memory meter on a real device, where its numbers have to be torch's own."""

from typing import Any

import pytest

from trainables.training.meters import Memory

pytestmark = pytest.mark.gpu
MIB = 1024**2


def block(mebibytes: int) -> Any:
    import torch

    return torch.empty(mebibytes * MIB, dtype=torch.uint8, device="cuda")


@pytest.fixture
def memory() -> Memory:
    import torch

    block(1)
    torch.cuda.empty_cache()
    made = Memory.of("cuda")
    made.reset()
    return made


def test_reading_is_what_torch_says(memory: Memory) -> None:
    import torch

    kept, passing = block(16), block(32)
    del passing
    assert memory.read() == {
        "memory_allocated_bytes": torch.cuda.memory_allocated(),
        "peak_memory_allocated_bytes": torch.cuda.max_memory_allocated(),
        "peak_memory_reserved_bytes": torch.cuda.max_memory_reserved(),
    }
    assert kept.numel() == 16 * MIB


@pytest.mark.parametrize(("training", "evaluation"), [(64, 256), (256, 64)])
def test_training_and_evaluation_do_not_mask_each_other(memory: Memory, training: int, evaluation: int) -> None:
    before = memory.read()["memory_allocated_bytes"] or 0
    block(training)
    with memory.apart():
        block(evaluation)
    block(8)
    assert memory.read()["peak_memory_allocated_bytes"] == before + training * MIB
    assert memory.evaluation_peak_bytes == before + evaluation * MIB


def test_reading_does_not_wait_for_the_device(memory: Memory) -> None:
    import torch

    cuda: Any = torch.cuda  # untyped in part
    done = cuda.Event()
    cuda._sleep(2_000_000_000)  # cycles: a second or so
    done.record()
    memory.read()
    assert not done.query(), "the device is at work still"
    cuda.synchronize()
