"""What TRL can do reaches the trial's trainer, its adapter and its model loader, under TRL's names.

A CPU cannot run most of it (quantization, flash attention, kernels): the trainer is a stand-in that keeps what it was given.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.space import Rank, trials
from tests.test_trl_data import CHAT, QWEN, tool_call
from tests.untuned import context_of, settings
from trainables.data.tokens import READY
from trainables.training import train as training
from trainables.training.train import arguments, train


class Given(Exception):
    """What the trainer was constructed from."""


class Trainer:
    """In SFTTrainer's place."""

    def __init__(self, **given: Any) -> None:
        raise Given(given)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return settings(tmp_path_factory.mktemp("trial"))


def given(base: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> dict[str, Any]:
    """What the trainer of a trial of rank 8 is given; of full fine-tuning with `full`."""
    monkeypatch.setattr(training, "SFTTrainer", Trainer)
    rank: Rank = "full" if more.pop("full", False) else 8
    (trial,) = trials({**base, **more}, [rank], [0], {}, "fixed")
    with pytest.raises(Given) as made:
        train(context_of(trial, folder))
    found: dict[str, Any] = made.value.args[0]
    return found


ADAPTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"r": 8, "lora_alpha": 32, "lora_dropout": 0.05, "task_type": "CAUSAL_LM", "target_modules": None}),
    "rsLoRA": ({"use_rslora": True}, {"use_rslora": True}),
    "DoRA": ({"use_dora": True}, {"use_dora": True}),
    "all-linear": ({"lora_target_modules": ["all-linear"]}, {"target_modules": "all-linear"}),
    "one module": ({"lora_target_modules": ["q_proj"]}, {"target_modules": {"q_proj"}}),
    "modules to save": ({"lora_modules_to_save": ["lm_head"]}, {"modules_to_save": ["lm_head"]}),
    "parameters": ({"lora_target_parameters": ["experts.up"]}, {"target_parameters": ["experts.up"]}),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapter_is_as_asked(
    name: str, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, expected = ADAPTERS[name]
    adapter = given(base, tmp_path, monkeypatch, **more)["peft_config"]
    assert {key: getattr(adapter, key) for key in expected} == expected


def test_full_fine_tuning_has_no_adapter(base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(base, tmp_path, monkeypatch, full=True)["peft_config"] is None


def test_four_bits_are_as_asked(base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "use_bnb_nested_quant": True, "dtype": "bfloat16"}
    found = given(base, tmp_path, monkeypatch, **more)
    four = found["quantization_config"]
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == (True, "fp4", True)
    assert four.bnb_4bit_compute_dtype == torch.bfloat16
    assert found["args"].model_init_kwargs["dtype"] == "bfloat16"


def test_eight_bits_are_as_asked_and_none_by_default(
    base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given(base, tmp_path, monkeypatch, load_in_8bit=True)["quantization_config"].load_in_8bit
    assert given(base, tmp_path, monkeypatch)["quantization_config"] is None


def test_the_model_is_loaded_as_asked(base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {"use_kernels": True, "rope_theta": 1e6}
    more = {
        "attn_implementation": "kernels-community/flash-attn2",
        "dtype": "bfloat16",
        "model_init_kwargs": kernels,
    }
    kwargs = given(base, tmp_path, monkeypatch, **more)["args"].model_init_kwargs
    expected = {
        "attn_implementation": "kernels-community/flash-attn2",
        "dtype": "bfloat16",
        **kernels,
    }
    assert {key: kwargs[key] for key in expected} == expected
    assert kwargs["use_safetensors"] is True


TRAINER: dict[str, Any] = {
    "loss_type": "dft",
    "use_liger_kernel": True,
    "activation_offloading": True,
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    "neftune_noise_alpha": 5.0,
    "pad_to_multiple_of": 8,
    "completion_only_loss": False,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_trainers_settings_are_as_asked(
    base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = given(base, tmp_path, monkeypatch, **TRAINER)["args"]
    assert {key: getattr(args, key) for key in TRAINER} == TRAINER


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
def test_packed_rows_are_trained_on_packed(
    strategy: str, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = given(base, tmp_path, monkeypatch, packing=True, packing_strategy=strategy, max_length=48)
    args, rows = found["args"], found["train_dataset"]
    assert (args.packing, args.packing_strategy, args.dataset_kwargs) == (True, strategy, READY["dataset_kwargs"])
    lengths = [len(row) for row in rows["input_ids"]]
    assert len(rows) < 25 and max(lengths) <= 48
    assert ("seq_lengths" in rows.column_names) == (strategy != "wrapped")


def test_padding_free_batches_are_of_rows_that_were_cut_before(
    base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL refuses the two together, since it would not cut them."""
    found = given(base, tmp_path, monkeypatch, padding_free=True, max_length=6)
    assert (found["args"].padding_free, found["args"].max_length) == (True, None)
    assert max(len(row) for row in found["train_dataset"]["input_ids"]) == 6


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft asks under the old name
def test_tool_calls_of_a_mixture_train(base: dict[str, Any], tmp_path: Path) -> None:
    """The trainer itself: the tokens are shared, and the template is set on the tokenizer that is saved."""
    rows = [tool_call(i) for i in range(12)]
    for name, some in {"a": rows[::2], "b": rows[1::2]}.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))
    mixture = [{"path": str(tmp_path / "a.jsonl")}, {"path": str(tmp_path / "b.jsonl")}]
    rest = {key: value for key, value in base.items() if key != "dataset_name"}
    given = {**rest, **CHAT, "datasets": mixture, "max_length": 200, "dataloader_pin_memory": False}
    (trial,) = trials(given, [4], [0], {}, "fixed")
    context = context_of(trial, tmp_path / "work")
    row = train(context)
    assert row["train_loss"] > 0 and row["eval_loss"] > 0
    assert context.final is not None and (context.final / "chat_template.jinja").read_text() == QWEN.read_text()


def test_a_template_in_the_users_folder_is_found_by_a_trial(base: dict[str, Any], tmp_path: Path) -> None:
    """A trial's process has another working directory: a relative path meant a repository of the Hub to it."""
    template = shutil.copy(Path(base["model_name_or_path"]) / "chat_template.jinja", tmp_path / "mine.jinja")
    (trial,) = trials(base, [8], [0], {}, "fixed")
    context = context_of(trial, tmp_path)
    context.settings = {**trial.settings, "chat_template_path": "mine.jinja"}
    context.resolve = lambda name: str(tmp_path / name)
    assert arguments(context)["chat_template_path"] == str(template)
