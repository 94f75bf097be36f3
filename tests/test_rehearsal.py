"""What would fail every trial is found before; what would not is not refused. What is said stands in tests/bad/."""

from pathlib import Path
from typing import Any

import pytest

from sweep.config import machine, values
from sweep.config.layers import resolve
from sweep.contract.loading import load_trainable
from sweep.space import trials
from tests.untuned import context_of, settings
from trainables import rehearsal
from trainables.training.train import train

OWN = ["--model_name_or_path", "M", "--dataset_name", "D.json"]
NEEDY = ["--load_in_4bit", "--use_liger_kernel", "--attn_implementation", "flash_attention_2", "--optim", "adamw_8bit"]


def complaints(*words: str) -> list[str]:
    config, wrong = resolve([*OWN, *words], False)
    assert config is not None and not wrong
    trainable = load_trainable(config.trainable)()
    return [*map(str, trainable.check_machine(config.trials(), machine.as_told(config, devices=1)))]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--grid", "lr_scheduler_type=linear,cosine,constant,constant_with_warmup,inverse_sqrt,polynomial"],
        ["--lr_scheduler_type", "cosine_with_min_lr", "--lr_scheduler_kwargs", "{min_lr: 1e-6}"],
        # The last steps of a run whose length only its data tell.
        ["--lr_scheduler_type", "warmup_stable_decay", "--lr_scheduler_kwargs", "{num_decay_steps: 5000}"],
        ["--lr_scheduler_type", "reduce_lr_on_plateau", "--eval_strategy", "steps", "--eval_steps", "5"],
        ["--grid", "optim=adamw_torch,adamw_torch_fused,sgd,adafactor,adagrad,rmsprop", "--warmup_steps", "0.1"],
        ["--attn_implementation", "eager"],
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_what_a_trainer_takes_is_not_refused(words: list[str]) -> None:
    assert complaints(*words) == []


def test_a_package_that_is_there_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(complaints(*NEEDY)) == 4
    monkeypatch.setattr(rehearsal, "_installed", lambda package: True)
    (left,) = complaints(*NEEDY)  # the optimizer's is the trainer's own look
    assert left.startswith("--optim")


def test_either_package_will_do_for_flash_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_installed", lambda package: package == "kernels")
    for name in ("flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2"):
        assert complaints("--attn_implementation", name) == []


def test_a_clusters_packages_are_not_looked_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints(*NEEDY, "--address", "host:6379") == []
    assert len(complaints("--lr_scheduler_type", "cosine_with_min_lr", "--address", "host:6379")) == 1
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    assert complaints(*NEEDY) == []


def test_a_trainable_of_ones_own_has_needs_of_its_own() -> None:
    assert complaints(*NEEDY, "--trainable", "trainables.synthetic:Synthetic") == []


@pytest.mark.parametrize(
    "given",
    [{"attn_implementation": "flash_attention_2"}, {"model_init_kwargs": {"attn_implementation": "k/flash-attn2"}}],
)
def test_padding_free_goes_with_flash_attention(given: dict[str, Any]) -> None:
    assert values.of_trials(trials({"padding_free": True, **given}, [8], [0], {}, "fixed")) == []


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft asks under the old name
def test_a_padding_free_trial_trains(tmp_path: Path) -> None:
    """TRL refuses max_length there, in every trial; the tokens are cut before. Llama needs no flash attention for it."""
    chosen = {**settings(tmp_path), "padding_free": True, "max_length": 16, "dataloader_pin_memory": False}
    (trial,) = trials(chosen, [4], [0], {}, "fixed")
    row = train(context_of(trial, tmp_path / "work"))
    assert row["train_loss"] > 0 and row["tokens"] > 0
