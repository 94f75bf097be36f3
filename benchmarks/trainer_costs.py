"""The cost of one step of TRL's SFTTrainer by part, and the cost of each part that can be left out.

    python -m benchmarks.trainer_costs [--shape demo | opt-350m] [--layers 2] [--steps 20] [--rounds 3]

Seconds are CPU time, so a busy machine matters little. One thread, LoRA of rank 8 on q_proj and v_proj, the demo's rows.
`opt-350m` has that model's widths and vocabulary with random weights and few layers, to show the cost of its head; all 24
layers would take too long on a CPU. The variants take turns, for several rounds. About 2 minutes (demo) and 10 minutes
(opt-350m, --steps 8 --rounds 1) on one core.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.bare import settings_of
from benchmarks.common import median, show

BASE = {"activation_checkpointing": False, "logging_steps": 1}
WAYS: dict[str, dict[str, Any]] = {
    "as the presets set it": {},
    "no entropy, no accuracy": {"loss": "log_probs alone"},
    "transformers' own loss": {"loss": "full logits"},
    "activation checkpointing on": {"activation_checkpointing": True},
    "logged every 10 steps": {"logging_steps": 10},
}


def model_folder(shape: str, layers: int, folder: str) -> str:
    """The demo's model, or one with opt-350m's widths and the demo's tokenizer."""
    demo = str(settings_of(8, 0, 1)["model_name_or_path"])
    if shape == "demo":
        return demo
    import torch
    from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    widths = {"hidden_size": 1024, "ffn_dim": 4096, "num_attention_heads": 16, "word_embed_proj_dim": 512}
    config = OPTConfig(vocab_size=50272, num_hidden_layers=layers, do_layer_norm_before=False, **widths)
    OPTForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(demo).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def loss_of(kind: str | None) -> Iterator[None]:
    """Replaces SFTTrainer's loss."""
    from trl.trainer import sft_trainer

    def compute(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if kind == "full logits":
            return model(**inputs, num_items_in_batch=num_items_in_batch).loss
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        return -outputs.log_probs.sum() / num_items_in_batch

    def head(model: Any, outputs: Any) -> None:
        real(model, outputs=("log_probs",))

    real = sft_trainer.add_fused_lm_head
    with contextlib.ExitStack() as stack:
        if kind:
            stack.enter_context(mock.patch.object(sft_trainer.SFTTrainer, "compute_loss", compute))
            stack.enter_context(mock.patch.object(sft_trainer, "add_fused_lm_head", head))
        yield


class Clock:
    """CPU seconds of each step except the first two, and of the functions called in them."""

    def __init__(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        clock = self

        class Beginnings(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
            def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                clock.begins.append(time.process_time())

        self.begins: list[float] = []
        self.parts: dict[str, float] = defaultdict(float)
        trainer.add_callback(Beginnings())
        for name, owner, method in (
            ("rows fetched and padded", trainer, "get_batch_samples"),
            ("forward and loss", trainer, "compute_loss"),
            ("backward", trainer.accelerator, "backward"),
            ("gradient clipping", trainer.accelerator, "clip_grad_norm_"),
            ("logging", trainer, "log"),
        ):
            setattr(owner, method, self._counted(name, getattr(owner, method)))

    def _counted(self, name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.parts[name] += time.process_time() - begin

        return call

    @property
    def steps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.begins[2:], self.begins[3:], strict=False)]


def train(settings: dict[str, Any], rows: Any, folder: str, steps: int, way: dict[str, Any]) -> dict[str, Any]:
    import torch
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    chosen = {**BASE, **{key: value for key, value in way.items() if key != "loss"}}
    args = SFTConfig(
        output_dir=folder,
        seed=0,
        max_steps=steps,
        per_device_train_batch_size=settings["per_device_train_batch_size"],
        dataset_kwargs={"skip_prepare_dataset": True},
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **chosen,
    )
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    items, real = [0], torch.Tensor.item

    def item(self: Any) -> Any:
        items[0] += 1
        return real(self)

    with loss_of(way.get("loss")), mock.patch.object(torch.Tensor, "item", item):
        model = settings["model_name_or_path"]
        trainer = SFTTrainer(model=model, args=args, train_dataset=rows, peft_config=adapter)
        clock = Clock(trainer)
        result = trainer.train()
    return {"steps": clock.steps, "parts": clock.parts, "items": items[0] / steps, "loss": result.training_loss}


def padding(lengths: Sequence[int], batch: int) -> dict[str, float]:
    """Share of an epoch's positions that are padding, for each of the trainer's two row orders."""
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    generator = torch.Generator().manual_seed(0)
    orders = {
        "random": torch.randperm(len(lengths), generator=generator).tolist(),
        "group_by_length": list(LengthGroupedSampler(batch, lengths=list(lengths), generator=generator)),
    }
    shares = {}
    for name, order in orders.items():
        batches = [[lengths[row] for row in order[start : start + batch]] for start in range(0, len(order), batch)]
        shares[name] = 1 - sum(lengths) / sum(len(one) * max(one) for one in batches)
    return {name: median([share]) for name, share in shares.items()}


def measure(shape: str, layers: int, steps: int, rounds: int) -> dict[str, Any]:
    import torch

    from sweep.common.quiet import quiet
    from trainables.data.rows import load_rows
    from trainables.data.tokens import dataset_of, prepare

    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = settings_of(8, 0, steps)
        made = prepare(load_rows(settings, str), settings, str, f"{folder}/cache")
        settings["model_name_or_path"] = model_folder(shape, layers, f"{folder}/model")
        lengths = [len(ids) for ids in made.train.column("input_ids").to_pylist()]
        for _ in range(rounds):
            for name, way in WAYS.items():
                found[name].append(train(settings, dataset_of(made.train), str(Path(folder, "out")), steps, way))
    seconds = {name: statistics.median(s for one in runs for s in one["steps"]) for name, runs in found.items()}
    base = found["as the presets set it"]
    return {
        "shape": shape if shape == "demo" else f"{shape}, {layers} of 24 layers",
        "steps": steps * rounds,
        "seconds_per_step": {name: median([value]) for name, value in seconds.items()},
        "saved_of_a_step": {
            name: median([1 - value / seconds["as the presets set it"]]) for name, value in seconds.items()
        },
        "seconds_per_step_in": {
            part: median([one["parts"][part] / steps for one in base]) for part in base[0]["parts"]
        },
        "item_calls_per_step": {name: median([one["items"] for one in runs]) for name, runs in found.items()},
        "padding_share_of_the_demos_rows": padding(lengths, settings["per_device_train_batch_size"]),
        "loss": {name: median([one["loss"] for one in runs]) for name, runs in found.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["demo", "opt-350m"], default="demo")
    parser.add_argument("--layers", type=int, default=2, help="of the opt-350m shape")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    show("trainer_costs", measure(given.shape, given.layers, given.steps, given.rounds))


if __name__ == "__main__":
    main()
