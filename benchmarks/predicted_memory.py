"""python -m benchmarks.predicted_memory: peak memory of a training step, predicted against measured, on a CPU.

Measured in two ways while the real SFTTrainer trains two steps: with the same tracker on real tensors, and by the CPU
allocator's own count as torch's profiler reports it. The ratios are predicted over measured.
"""

import gc
import json
import tempfile
from pathlib import Path
from typing import Any

LENGTH, ROWS, WORDS = 64, 4, 2048
STEPS = 2  # in the second step the optimizer has its state
LORA = {"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "lora_target_modules": ["q_proj", "v_proj"]}
BASE = {"per_device_train_batch_size": ROWS, "bf16": False, "activation_checkpointing": False, "max_length": LENGTH}
CHECKPOINTED, BF16_WEIGHTS = {"activation_checkpointing": True}, {"dtype": "bfloat16"}
GPT2 = {"lora_target_modules": ["c_attn", "c_proj"]}

# By name: the model's architecture, and settings that override BASE.
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "OPT, LoRA": ("opt", LORA),
    "OPT, full": ("opt", {}),
    "OPT, LoRA, activation checkpointing": ("opt", {**LORA, **CHECKPOINTED}),
    "OPT, LoRA, bf16 autocast": ("opt", {**LORA, "bf16": True}),
    "OPT, LoRA, 4 micro-batches": ("opt", {**LORA, "gradient_accumulation_steps": 4}),
    "Llama, LoRA": ("llama", LORA),
    "Llama, DoRA": ("llama", {**LORA, "use_dora": True}),
    "Llama, full, bf16 weights, activation checkpointing": ("llama", {**BF16_WEIGHTS, **CHECKPOINTED}),
    "Llama, rsLoRA, all-linear, SGD": (
        "llama",
        {**LORA, "use_rslora": True, "lora_target_modules": "all-linear", "optim": "sgd"},
    ),
    "GPT-2, LoRA": ("gpt2", {**LORA, **GPT2}),
    "GPT-2, DoRA": ("gpt2", {**LORA, **GPT2, "use_dora": True}),
    "GPT-2, full, Adafactor": ("gpt2", {"optim": "adafactor"}),
    "Qwen2, LoRA, all-linear": ("qwen2", {**LORA, "lora_target_modules": "all-linear"}),
    "Qwen2, LoRA, bf16 autocast, activation checkpointing": ("qwen2", {**LORA, **CHECKPOINTED, "bf16": True}),
    "Qwen2, full": ("qwen2", {}),
}


def compare(name: str, folder: Path) -> dict[str, int]:
    """Peak bytes of one configuration: predicted, tracked on real tensors, and counted by the allocator."""
    from trainables.predict.steps import simulate

    shape, settings = CONFIGURATIONS[name]
    path = folder / shape
    if not path.exists():
        _save(shape, path)
    settings = {**BASE, **settings, "model_name_or_path": str(path)}
    tracked, allocator = _train(settings)
    return {
        "predicted": simulate(settings, lambda name: name, LENGTH, "cpu").memory.total,
        "tracked": tracked,
        "allocator": allocator,
    }


def _save(shape: str, path: Path) -> None:
    """Saves a model with random weights and a tokenizer for the trainer."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    config = _shapes()[shape]
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(path)
    words = {"<pad>": 0, **{str(index): index for index in range(1, WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<pad>").save_pretrained(path)


def _shapes() -> dict[str, Any]:
    from transformers import GPT2Config, LlamaConfig, OPTConfig, Qwen2Config

    special = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    grouped = {
        **special,
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "intermediate_size": 352,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    }
    return {
        "opt": OPTConfig(
            **special,
            hidden_size=128,
            num_hidden_layers=3,
            ffn_dim=512,
            num_attention_heads=4,
            word_embed_proj_dim=64,
            do_layer_norm_before=False,
        ),
        "llama": LlamaConfig(**grouped),
        "gpt2": GPT2Config(**special, n_embd=128, n_layer=3, n_head=4),
        "qwen2": Qwen2Config(**grouped, tie_word_embeddings=True),
    }


def _train(settings: dict[str, Any]) -> tuple[int, int]:
    """Trains two steps with the real trainer; returns the tracker's and the allocator's peaks in bytes."""
    from torch.profiler import ProfilerActivity, profile

    from trainables.predict.live import Live

    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(settings, folder)
        gc.collect()  # an earlier model must not be freed while this one is measured
        held = [*trainer.model.parameters(), *trainer.model.buffers()]
        before = sum({id(one.untyped_storage()): one.untyped_storage().nbytes() for one in held}.values())
        live = Live()
        live.name(held, "parameters")
        with live, profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            trainer.train()
    return live.peak().total, before + _allocated(profiled)


def _trainer(settings: dict[str, Any], folder: str) -> Any:
    from datasets import Dataset
    from trl import SFTTrainer, get_peft_config

    from trainables import model
    from trainables.predict.steps import arguments

    args = arguments(settings)
    args.output_dir, args.max_steps, args.save_strategy, args.disable_tqdm = folder, STEPS, "no", True
    args.dataset_kwargs = {"skip_prepare_dataset": True}
    args.model_init_kwargs = {"dtype": settings.get("dtype", "float32")}
    # One row of each batch is shorter: with nothing to pad, the attention mask would be left out.
    rows = [[1] * (LENGTH // 2), *[[1] * LENGTH] * (ROWS - 1)] * (STEPS * args.gradient_accumulation_steps)
    return SFTTrainer(
        model=settings["model_name_or_path"],
        args=args,
        train_dataset=Dataset.from_dict({"input_ids": rows, "labels": rows}),
        peft_config=get_peft_config(model.model_config(settings)),
    )


def _allocated(profiled: Any) -> int:
    """The most bytes allocated at any moment since the profile began."""
    total = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            most = max(most, total)
    return most


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: compare(name, Path(folder)) for name in CONFIGURATIONS}
    for one in found.values():
        one |= {f"over_{by}": round(one["predicted"] / one[by], 4) for by in ("tracked", "allocator")}  # type: ignore[misc]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
