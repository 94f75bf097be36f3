"""One attempt of a trial: SFTTrainer built as TRL's own script builds it, watched, evaluated and saved."""

import math
import os
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from sweep import redact
from sweep.store import Row
from trainables import evaluate, model, tokens, trackers
from trainables.callback import StepRows
from trainables.context import Context
from trainables.meters import Memory, peak_rss_bytes, reset_peak_rss

# What a trial's trainer always has: every step is logged, and a loss that is not finite is seen.
FIXED = {
    "logging_steps": 1,
    "logging_strategy": "steps",
    "logging_nan_inf_filter": False,
    "assistant_only_loss": False,  # the labels were made with it
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "do_eval": False,
}
NOT_KEPT = ("training_args.bin",)  # a pickle, with the machine's paths in it


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Tells how many steps there will be, and hands the trainer's checkpoints over."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._context.total_steps = state.max_steps

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        made = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        kept = self._context.work_dir / f"checkpoint-{state.global_step}"
        # Hard links: the trainer removes its own names when it likes.
        shutil.copytree(made, kept, copy_function=os.link, ignore=shutil.ignore_patterns(*NOT_KEPT))
        _redact(kept, self._context)
        self._context.save(kept, state.global_step)


def train(context: Context) -> Row:
    """Trains, evaluates and saves one trial; returns the columns of its row."""
    settings = context.settings
    reset_peak_rss()
    _set_threads(context.threads)
    trackers.set_up(context, settings.get("report_to", "none"))
    mine = context.shared[tokens.data_key(settings)]
    args = SFTConfig(**arguments(context))
    args.model_init_kwargs = model.init_kwargs(settings, args.device)
    memory, rows = Memory.of(args.device.type), list(context.earlier)
    steps = StepRows(_both(rows.append, context.report), memory=memory, should_stop=context.should_stop)
    trainer = _trainer(context, args, mine, [steps, Watch(context)])
    context.leftovers.append(weakref.ref(trainer.model))
    memory.reset()
    try:
        outcome = _train(context, trainer, mine, rows, steps)
    except BaseException:
        context.so_far = {**_peaks([*rows, memory.read()]), **_device(trainer), **_process(memory)}
        raise
    trainer.end()
    return {**outcome, **_process(memory)}


def _train(context: Context, trainer: Any, mine: tokens.Tokens, rows: list[Row], steps: StepRows) -> Row:
    resume = context.resume_from
    try:
        result = trainer.train(resume_from_checkpoint=str(resume.folder) if resume else None)
    finally:
        steps.close()
    outcome = {
        **_numbers(trainer, rows, result.metrics),
        **steps.throughput.result(),
        **_peaks(rows),
        **_device(trainer),
    }
    if steps.diverged:
        outcome["status"] = "diverged"
    elif not context.should_stop():
        with steps.memory.apart():
            context.evals = evaluate.held_out(trainer, mine.held_out, trainer.args.per_device_eval_batch_size)
        outcome["eval_loss"] = evaluate.mean_loss(context.evals)
        context.final = _final(trainer, context)
    return outcome


def _process(memory: Memory) -> Row:
    return {"eval_peak_memory_allocated_bytes": memory.evaluation_peak_bytes, "peak_rss_bytes": peak_rss_bytes()}


def _both(*functions: Any) -> Any:
    def call(row: Row) -> None:
        for function in functions:
            function(row)

    return call


def _set_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def _trainer(context: Context, args: Any, mine: tokens.Tokens, callbacks: Sequence[TrainerCallback]) -> Any:
    chosen = model.model_config(context.settings)
    trainer = SFTTrainer(
        model=context.resolve(str(context.settings["model_name_or_path"])),
        args=args,
        train_dataset=tokens.dataset_of(mine.train),
        eval_dataset=tokens.dataset_of(mine.held_out) if args.eval_strategy != "no" else None,
        quantization_config=get_quantization_config(chosen),
        peft_config=get_peft_config(chosen),
        callbacks=list(callbacks),
    )
    if not context.verbose:
        trainer.remove_callback(PrinterCallback)
    return trainer


def arguments(context: Context) -> dict[str, Any]:
    """What SFTConfig is made with: the trial's settings over few defaults of ours, under what is fixed."""
    known = {field.name for field in fields(SFTConfig) if field.init}
    chosen = {key: value for key, value in context.settings.items() if key in known}
    defaults = {
        "save_total_limit": 1,
        "report_to": "none",
        "run_name": context.trial_id,
        "disable_tqdm": not context.verbose,
    }
    return {**defaults, **chosen, **FIXED, "output_dir": str(context.work_dir / "out")}


def _numbers(trainer: Any, rows: Sequence[Row], metrics: dict[str, float]) -> Row:
    """What training took and gave. Loss and tokens are those of all attempts, the trainer's own figures the last one's."""
    losses = [row["loss"] for row in rows]
    total = sum(row["tokens"] or 0 for row in rows)
    runtime = metrics["train_runtime"]
    parameters = list(trainer.model.parameters())
    return {
        # Summed as the trainer sums it, so that a resumed trial has the loss of an undisturbed one, to the last bit.
        "train_loss": sum(losses) / len(losses) if losses and all(map(math.isfinite, losses)) else None,
        **{key: metrics[key] for key in ("train_runtime", "train_samples_per_second", "train_steps_per_second")},
        "train_tokens_per_second": total / runtime if runtime else None,
        "epochs": trainer.state.epoch,
        "tokens": total,
        "trainable_parameters": sum(one.numel() for one in parameters if one.requires_grad),
        "total_parameters": sum(one.numel() for one in parameters),
    }


def _peaks(rows: Sequence[Row]) -> Row:
    """The highest memory of any step, of any attempt."""
    names = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes")
    found = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: max(values, default=None) for name, values in found.items()}


def _device(trainer: Any) -> Row:
    import platform

    import torch

    kind = trainer.args.device.type
    name = torch.cuda.get_device_name() if kind == "cuda" else platform.processor() or platform.machine()
    return {"device": kind, "device_name": name}


def _final(trainer: Any, context: Context) -> Path:
    """Saves the adapter or the model, with its tokenizer."""
    folder = context.work_dir / "final"
    trainer.save_model(str(folder))
    for name in NOT_KEPT:
        (folder / name).unlink(missing_ok=True)
    _redact(folder, context)
    return folder


def _redact(folder: Path, context: Context) -> None:
    """The base model under the name that the user gave it, and none of what must not be written."""
    name = str(context.settings["model_name_or_path"])
    redact.folder(folder, {context.resolve(name): name})
