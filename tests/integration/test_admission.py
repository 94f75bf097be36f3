"""What fits no card is not started, and says so in a row; it runs as soon as it may. The GPUs are declared to Ray, not there."""

from typing import Any

import pytest

from sweep import analysis
from sweep.grid import main
from sweep.store.store import Store
from trainables.synthetic import Synthetic

PREDICTED = "predicted_peak_memory_bytes"


class OnSmallCard(Synthetic):
    """Its process finds a card of 3 GB, of which the driver knew nothing."""

    def device_bytes(self) -> int:
        return 3 * 10**9


def run(store: str, *more: str, kind: str = "trainables.synthetic:Synthetic") -> int:
    chosen = ["--trainable", kind, "--max_steps", "5", "--rank_bytes", str(10**8)]
    return main(["--storage_path", store, "--name", "one", *chosen, *more])


def rows(store: str) -> dict[int, dict[str, Any]]:
    return {row["lora_r"]: row for row in Store(f"{store}/one").trials().to_pylist()}


def statuses(store: str) -> dict[int, str]:
    return {rank: row["status"] for rank, row in rows(store).items()}


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_on_a_card_between_two_ranks_the_smaller_is_admitted_and_the_larger_rejected(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = ["--lora_r", "8", "32", "64"]
    assert run(store, *ranks, "--gpu_memory_gb", "2") == 1
    said, found = capsys.readouterr(), rows(store)
    assert statuses(store) == {8: "completed", 32: "rejected", 64: "rejected"}
    first, second = found[8], found[32]
    assert first[PREDICTED] < 2 * 10**9 < second[PREDICTED] < found[64][PREDICTED]
    assert (second["attempts"], second["steps"], second["log"], second["error_type"]) == (0, None, None, None)
    assert "its predicted peak of 3.20 GB of GPU memory" in second["error_message"]
    assert "does not fit the card of --gpu_memory_gb with 2.00 GB" in second["error_message"]
    stored = Store(f"{store}/one")
    assert stored.steps(second["trial_id"]).num_rows == 0 and stored.attempts(second["trial_id"]) == 0
    assert f"{second['trial_id']}: rejected: its predicted peak" in said.err
    assert f"{second['trial_id']} (r=32, seed 0): rejected; its predicted peak" in " ".join(said.out.split())
    assert "1 of 3 trials completed; 2 rejected." in " ".join(said.out.split())

    answer = analysis.answer(analysis.load(f"{store}/one"))
    assert {one.lora_r: one.results[PREDICTED] for one in answer.configurations} == {
        rank: row[PREDICTED] for rank, row in found.items()
    }
    assert {one.results["predicted_peak_memory_error"] for one in answer.configurations} == {None}, "none was measured"

    assert run(store, *ranks, "--gpu_memory_gb", "5") == 1  # a larger card
    assert statuses(store) == {8: "completed", 32: "completed", 64: "rejected"}
    assert run(store, *ranks, "--gpu_memory_gb", "2", "--admit", "all") == 0
    assert set(statuses(store).values()) == {"completed"}
    assert rows(store)[8] == first, "what is done is left alone"
    assert rows(store)[64][PREDICTED] == found[64][PREDICTED] and rows(store)[64]["attempts"] == 1
    assert rows(store)[64]["error_message"] is None


@pytest.mark.usefixtures("ray_with_two_gpus")
def test_a_card_that_only_the_worker_knows_is_compared_there_before_training(store: str) -> None:
    kind = f"{__name__}:OnSmallCard"
    assert run(store, "--lora_r", "8", "32", "64", kind=kind) == 1
    assert statuses(store) == {8: "completed", 32: "rejected", 64: "rejected"}
    row, stored = rows(store)[32], Store(f"{store}/one")
    assert row["error_message"].startswith("its predicted peak of 3.20 GB") and "with 3.00 GB." in row["error_message"]
    assert row["attempts"] == 1 and row["steps"] == 0 and stored.steps(row["trial_id"]).num_rows == 0
    assert "Not trained: its predicted peak" in stored.read_bytes(row["log"]).decode()

    assert run(store, "--lora_r", "8", "32", "64", "--on_oom", "shrink", kind=kind) == 1
    half, still = rows(store)[32], rows(store)[64]
    assert (half["status"], half["micro_batch"]) == ("completed", 4)
    assert half[PREDICTED] < 2 * 10**9, "of the half micro-batch"
    assert (still["status"], still["micro_batch"]) == ("rejected", 4)

    assert run(store, "--lora_r", "8", "32", "64", "--admit", "all", kind=kind) == 0
    assert (rows(store)[64]["status"], rows(store)[64]["micro_batch"]) == ("completed", None)
