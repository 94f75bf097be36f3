"""The way through, on models and data that the project did not make."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.grid import main
from sweep.store.store import Store

SMALL = [
    "--per_device_train_batch_size",
    "4",
    "--max_length",
    "256",
    "--no_bf16",
    "--learning_rate",
    "1e-3",
    "--test_split_size",
    "10",
]


def words(model: str, rows: str, store: str, *more: str) -> list[str]:
    return [
        "--model_name_or_path",
        model,
        "--dataset_name",
        rows,
        "--storage_path",
        store,
        "--name",
        "one",
        *SMALL,
        *more,
    ]


def assert_whole(store: Store, trials: int, steps: int, held_out: int) -> list[dict[str, Any]]:
    """A row per trial, its steps 1..N once each in order, a held-out row per example."""
    rows: list[dict[str, Any]] = store.trials().to_pylist()
    assert len(rows) == trials
    frame = store.steps().to_pandas()
    evals = store.evals().to_pandas()
    assert (evals.groupby("example_id").content_hash.nunique(dropna=False) == 1).all()
    assert evals.content_hash.notna().all() and evals.group.isna().all()
    for row in rows:
        assert frame[frame.trial_id == row["trial_id"]].step.tolist() == list(range(1, steps + 1))
        assert sorted(evals[evals.trial_id == row["trial_id"]].example_id) == list(range(held_out))
    return rows


def assert_largest_is_cut(rows: list[dict[str, Any]], smaller: list[str]) -> None:
    """Every trial of the largest LoRA rank, and no other, has the losses of its adapter cut to the smaller ones."""
    largest = max(row["lora_r"] or 0 for row in rows)
    for row in rows:
        if row["lora_r"] == largest:
            found = json.loads(row["cut_losses"])
            assert list(found) == smaller and all(loss > 0 for loss in found.values())
        else:
            assert row["cut_losses"] is None


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_ranks_and_full_fine_tuning_on_other_models(
    architecture: str, rows_file: str, store: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    model = request.getfixturevalue(architecture)
    command = words(model, rows_file, store, "--lora_r", "4", "16", "full", "--seeds", "0", "1", "--max_steps", "20")
    assert main(command) == 0
    place = Store(f"{store}/one")
    rows = assert_whole(place, trials=6, steps=20, held_out=10)
    by_method = {row["method"]: row for row in rows}
    assert by_method["full"]["trainable_parameters"] == by_method["full"]["total_parameters"]
    assert by_method["lora"]["trainable_parameters"] < by_method["lora"]["total_parameters"] / 2
    for row in rows:
        assert row["status"] == "completed" and row["eval_loss"] > 0 and row["peak_memory_allocated_bytes"] is None
        assert place.exists(
            f"{row['checkpoint']}/{'adapter_model' if row['method'] == 'lora' else 'model'}.safetensors"
        )
    assert "full" in capsys.readouterr().out
    assert_largest_is_cut(rows, smaller=["4"])
    again = {row["trial_id"]: row["ended_at"] for row in rows}
    assert main(command) == 0  # nothing left to do
    assert {row["trial_id"]: row["ended_at"] for row in place.trials().to_pylist()} == again


@pytest.mark.usefixtures("ray_here")
def test_a_trial_keeps_its_final_checkpoint_alone(llama: str, rows_file: str, store: str) -> None:
    command = words(llama, rows_file, store, "--lora_r", "4", "--max_steps", "6")
    assert main([*command, "--save_strategy", "steps", "--save_steps", "1"]) == 0
    (row,) = Store(f"{store}/one").trials().to_pylist()
    kept = list(Path(store, "one", "checkpoints").glob("*/*"))
    assert kept == [Path(store, "one", row["checkpoint"])]
    assert not list(Path(store, "one", "tune").glob("**/*checkpoint_*"))
    assert not list(kept[0].glob("optimizer*"))


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft asks under the old name
@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
@pytest.mark.usefixtures("ray_here")
def test_losses_are_those_of_a_plain_script_to_the_last_bit(
    llama: str, rows_file: str, store: str, tmp_path: Path
) -> None:
    command = words(
        llama, rows_file, store, "--lora_r", "8", "--seeds", "3", "--max_steps", "12", "--lora_dropout", "0.05"
    )
    assert main(command) == 0
    place = Store(f"{store}/one")
    ours = place.steps().to_pandas()
    plain = plain_script(llama, rows_file, tmp_path)
    assert ours.loss.tolist() == [entry["loss"] for entry in plain if "loss" in entry]
    assert ours.grad_norm.tolist() == [entry["grad_norm"] for entry in plain if "loss" in entry]
    assert place.trials().column("train_loss").to_pylist() == [plain[-1]["train_loss"]]


def plain_script(model: str, rows: str, folder: Path) -> list[dict[str, float]]:
    """What a user would write without us; returns the trainer's own log."""
    import torch
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from trainables.data.rows import load_rows

    torch.set_num_threads(1)
    loaded = load_rows({"dataset_name": rows, "test_split_size": 10}, lambda name: name)
    args = SFTConfig(
        output_dir=str(folder),
        seed=3,
        max_steps=12,
        per_device_train_batch_size=4,
        max_length=256,
        learning_rate=1e-3,
        bf16=False,
        activation_checkpointing=True,  # TRL's default, under its new name
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    adapter = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM")
    trainer = SFTTrainer(model=model, args=args, train_dataset=loaded.train, peft_config=adapter)
    trainer.train()
    log: list[dict[str, float]] = trainer.state.log_history
    return log
