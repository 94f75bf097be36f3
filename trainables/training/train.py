"""One attempt of a trial: builds SFTTrainer as TRL's own script does, trains, evaluates and saves."""

import weakref
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from sweep import redact
from sweep.contract.outcomes import is_out_of_memory
from sweep.contract.trainable import Context
from sweep.store.store import Row
from trainables import model
from trainables.data import tokens
from trainables.training import cut, evaluate, figures, integrations, resume, scores
from trainables.training.callback import StepRows
from trainables.training.meters import Counted, Memory, Throughput, reset_peak_rss
from trainables.training.resume import NOT_KEPT, NothingLeft, Start

# Fixed settings of every trial's trainer: every step is logged, and a loss that is not finite is visible.
FIXED = {
    "logging_steps": 1,
    "logging_strategy": "steps",
    "logging_nan_inf_filter": False,
    "assistant_only_loss": False,  # applied when the labels were made
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "do_eval": False,
    "report_to": "none",  # trackers are among the callbacks
}


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Reports that the first step has begun and how many there will be, and hands over the trainer's checkpoints."""

    def __init__(self, context: Context, begin: Start, steps: StepRows) -> None:
        self._context, self._begin, self._steps = context, begin, steps

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._context.total_steps = state.max_steps
        if self._begin.nothing_left:
            raise NothingLeft
        self._context.phase("first step", None)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        made = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        kept = self._context.work_dir / f"checkpoint-{state.global_step}"
        best = state.best_model_checkpoint if args.load_best_model_at_end else None
        resume.copy(made, kept, Path(best) if best else None)
        _redact(kept, self._context)
        if (took := figures.took(self._begin, self._steps, self._steps.seconds)) is not None:
            resume.note(kept, took)
        self._context.save(kept, state.global_step)


def train(context: Context) -> Row:
    """Trains, evaluates and saves one trial; returns the columns of its row."""
    settings = context.settings
    reset_peak_rss()
    _set_threads(context.threads)
    mine = context.shared[tokens.data_key(settings)]
    args = SFTConfig(**arguments(context))
    args.model_init_kwargs = model.init_kwargs(model.pinned(settings, mine.commit), args.device)
    begin = resume.start(context.resume_from, args.load_best_model_at_end)
    memory, rows = Memory.of(args.device.type), list(context.earlier)
    steps = StepRows(
        _both(rows.append, context.report),
        memory=memory,
        throughput=Throughput(before=begin.took.counted if begin.took else Counted()),
        should_stop=context.should_stop,
    )
    watching = [integrations.Notes(context), Watch(context, begin, steps), steps, *integrations.others(context)]
    context.phase("loading the model", None)
    trainer = _trainer(context, args, mine, watching)
    context.leftovers.append(weakref.ref(trainer.model))
    baselines = scores.baselines(context, trainer, mine)
    memory.reset()
    try:
        outcome = _train(context, trainer, mine, rows, steps, begin)
    except BaseException:
        measured = {**figures.peaks([*rows, memory.read()]), **figures.device(trainer)}
        context.so_far = {**measured, **context.so_far, **figures.process(memory, rows, begin)}
        raise
    outcome |= figures.process(memory, rows, begin)
    outcome |= scores.columns(context, trainer, mine, baselines, outcome)
    outcome |= cut.columns(context, trainer, mine, outcome)  # last: everything else is measured and saved
    trainer.end()
    return outcome


def _train(context: Context, trainer: Any, mine: tokens.Tokens, rows: list[Row], steps: StepRows, begin: Start) -> Row:
    try:
        metrics = _fit(trainer, begin)
    finally:
        steps.close()
    outcome = {
        **figures.numbers(trainer, rows),
        **figures.times(trainer, rows, figures.took(begin, steps, metrics["train_runtime"])),
        **(metrics if begin.state is None else {}),  # as the trainer reports it
        **figures.peaks(rows),
        **figures.device(trainer),
    }
    context.so_far = outcome  # it is kept, whatever happens in the evaluation
    if steps.diverged:
        return {**outcome, "status": "diverged"}
    if context.should_stop():
        return outcome
    return {**outcome, "eval_loss": _evaluate(context, trainer, mine, steps.memory)}


def _fit(trainer: Any, begin: Start) -> dict[str, float]:
    """Trains the remaining steps; returns the trainer's own metrics."""
    try:
        metrics = trainer.train(resume_from_checkpoint=begin.weights and str(begin.weights)).metrics
    except NothingLeft:
        trainer.state = begin.state  # if the best weights were loaded, it is their score
        return {"train_runtime": 0.0}
    return {key: metrics[key] for key in figures.TIMES if key in metrics}


def _evaluate(context: Context, trainer: Any, mine: tokens.Tokens, memory: Memory) -> float | None:
    batch_size = trainer.args.per_device_eval_batch_size
    try:
        with memory.apart():
            context.evals = evaluate.held_out(
                trainer, mine.held_out, batch_size, lambda rows: context.phase("evaluating", rows)
            )
    except Exception as error:
        if is_out_of_memory(error):  # on a retry too: nothing more will be trained
            context.final = _final(trainer, context)
        raise
    context.phase("saving", None)
    context.final = _final(trainer, context)
    return evaluate.mean_loss(context.evals)


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
        eval_dataset=tokens.dataset_of(mine.held_out) if args.eval_strategy != "no" or args.eval_on_start else None,
        quantization_config=get_quantization_config(chosen),
        peft_config=get_peft_config(chosen),
        callbacks=list(callbacks),
    )
    if not context.verbose:
        trainer.remove_callback(PrinterCallback)
    return trainer


def arguments(context: Context) -> dict[str, Any]:
    """The arguments of SFTConfig: a few defaults of ours, overridden by the trial's settings, overridden by what is fixed."""
    known = {field.name for field in fields(SFTConfig) if field.init}
    chosen = {key: value for key, value in context.settings.items() if key in known}
    defaults = {
        "save_total_limit": 1,
        "run_name": context.trial_id,
        "disable_tqdm": not context.verbose,
    }
    begun = {"eval_on_start": False} if context.resume_from else {}
    # TRL refuses a length that such batches would not be truncated to; the tokens are truncated already.
    uncut = {"max_length": None} if chosen.get("padding_free") and not chosen.get("packing") else {}
    template = chosen.get("chat_template_path")  # relative to the user's folder, which is not this process's
    found = {"chat_template_path": context.resolve(template)} if template else {}
    return {**defaults, **chosen, **FIXED, **begun, **uncut, **found, "output_dir": str(context.work_dir / "out")}


def _final(trainer: Any, context: Context) -> Path:
    """Saves the adapter or the model, with its tokenizer."""
    folder = context.work_dir / "final"
    trainer.save_model(str(folder))
    for name in NOT_KEPT:
        (folder / name).unlink(missing_ok=True)
    _redact(folder, context)
    return folder


def _redact(folder: Path, context: Context) -> None:
    """Writes the base model under the name that the user gave, and redacts the rest."""
    name = str(context.settings["model_name_or_path"])
    redact.folder(folder, {context.resolve(name): name})
