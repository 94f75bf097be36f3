"""The peak of a training step is known before it runs: predicted, tracked on real tensors, and counted by the allocator."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.predicted_memory import CONFIGURATIONS, compare
from sweep.contract.cards import fits, overhead
from sweep.contract.memory import Memory, Step, over_ranks

OPT_350M = str(Path(__file__).parent / "fixtures" / "opt-350m")
REPORT = {  # the report's setting; it does not state the length of its rows
    "model_name_or_path": OPT_350M,
    "per_device_train_batch_size": 8,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "lora_target_modules": ["q_proj", "v_proj"],
    "bf16": False,
    "activation_checkpointing": False,
}
LENGTH = 100

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and peft, about their own names


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def simulate(settings: dict[str, Any], **further: Any) -> Step:
    from trainables.predict.steps import simulate

    return simulate(settings, lambda name: name, **{"length": LENGTH, "device": "cuda", **further})


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_real_trainer_needs_what_was_predicted(name: str, models: Path) -> None:
    found = compare(name, models)
    assert found["predicted"] == pytest.approx(found["tracked"], rel=0.02)
    assert found["predicted"] == pytest.approx(found["allocator"], rel=0.02)
    assert decided_rightly(found["predicted"], found["allocator"])


def decided_rightly(predicted: int, measured: int) -> bool:
    """On cards that have 5 % more and less room for the peak than it needs. The context is left out of the 5 %: ten times the
    peak of these small models, it would hide half of it."""
    context, needed = overhead(0), measured + overhead(measured) - overhead(0)
    return fits(predicted, round(context + 1.05 * needed)) and not fits(predicted, round(context + 0.95 * needed))


def test_a_prediction_that_is_off_by_more_than_five_percent_decides_wrongly_on_some_card() -> None:
    measured = 60_000_000
    assert [decided_rightly(round(measured * share), measured) for share in (0.94, 0.96, 1.04, 1.06)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("whole_logits", [False, True])
def test_the_reports_ranks_differ_as_they_did_in_the_report(whole_logits: bool) -> None:
    """3.1, 3.2 and 3.4 GB: 0.16 and 0.17 GB apart, whichever way the loss is computed."""
    peaks = [
        simulate({**REPORT, "lora_r": rank}, whole_logits=whole_logits).memory.total / 1e9 for rank in (8, 128, 256)
    ]
    assert peaks[1] - peaks[0] == pytest.approx(0.160, abs=0.002)
    assert peaks[2] - peaks[1] == pytest.approx(0.171, abs=0.002)
    assert 2.4 < peaks[0] < 3.1


def test_ranks_on_a_line_are_interpolated_exactly() -> None:
    asked: list[int] = []

    def counting(rank: int) -> Step:
        asked.append(rank)
        return simulate({**REPORT, "lora_r": rank}, length=16)

    ranks = [2, 8, 32, 64, 256]
    found = over_ranks(ranks, counting)
    assert asked == [2, 32, 256]
    for rank in (8, 64):
        exact = simulate({**REPORT, "lora_r": rank}, length=16)
        assert found[rank].memory.total == pytest.approx(exact.memory.total, rel=2e-4)
        assert found[rank].flops == pytest.approx(exact.flops, rel=1e-6)


def _peak_of(bytes_at: Callable[[int], int]) -> Callable[[int], Step]:
    return lambda rank: Step(Memory(bytes_at(rank), 0, 0, 0, 0), 0)


def test_a_peak_that_bends_is_simulated_at_every_rank() -> None:
    def bent(rank: int) -> int:
        return max(1_000_000, 20_000 * rank)

    found = over_ranks([8, 16, 32, 64, 128], _peak_of(bent))
    assert {rank: step.memory.total for rank, step in found.items()} == {rank: bent(rank) for rank in found}


def test_cuda_keeps_masks_of_bytes_and_makes_no_whole_logits() -> None:
    settings = {**REPORT, "lora_r": 8}
    cuda, cpu = (simulate(settings, device=device).memory.total for device in ("cuda", "cpu"))
    assert cpu - cuda == pytest.approx(0.98e9, rel=0.05)


def test_frozen_weights_in_four_bits_take_their_arithmetic() -> None:
    settings = {**REPORT, "lora_r": 8, "dtype": "bfloat16"}
    plain, four = (simulate(one).memory for one in (settings, {**settings, "load_in_4bit": True}))
    linear = 24 * (4 * 1024 * 1024 + 2 * 4096 * 1024) + 2 * 512 * 1024
    expected = plain.parameters - 2 * linear + round(linear * (0.5 + 4 / 64))
    adapter = 24 * 2 * 2 * 8 * 1024 * 2  # in bfloat16 over quantized weights, in float32 else
    assert four.parameters == pytest.approx(expected - adapter, abs=2**20)


def test_operations_are_counted_for_every_micro_batch() -> None:
    one = simulate({**REPORT, "lora_r": 8}, length=16)
    four = simulate({**REPORT, "lora_r": 8, "gradient_accumulation_steps": 4}, length=16)
    assert four.flops == 4 * one.flops
    gradients = 24 * 2 * 2 * 8 * 1024 * 4
    assert four.memory.total - one.memory.total == pytest.approx(gradients, rel=0.1)


def test_a_memory_has_a_total() -> None:
    assert dataclasses.replace(Memory(1, 2, 3, 4, 5), temporaries=0).total == 10
