"""Every column of a sweep's files: one definition makes the Arrow schemas, the checks and the page docs/columns.md.

Names are the Hugging Face trainer's where it has one; anything else says its unit. Null means "not measured".
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1

STATUSES = {
    "completed": "trained to its last step and evaluated",
    "pruned": "stopped early by the scheduler; not trained as long as the others",
    "oom": "ran out of accelerator memory; its peaks are those reached until then",
    "failed": "raised an error, or its process died (error_type ProcessDied, or HostOutOfMemory where that is known)",
    "diverged": "its loss became NaN or infinite",
    "rejected": "not started, since it could not have run; read from files of others, never written by this version",
    "interrupted": "the sweep was stopped while it ran; the same command goes on",
    "running": "has no row yet: derived by the reader, never written",
}
AGAIN = frozenset({"failed", "interrupted", "rejected"})  # endings that the same command tries again


@dataclass(frozen=True)
class Column:
    """A column's name, Arrow type and meaning (with its unit)."""

    name: str
    type: pa.DataType
    meaning: str


_text, _int, _float = pa.string(), pa.int64(), pa.float64()
_time = pa.timestamp("us", tz="UTC")

TRIALS = (
    Column("trial_id", _text, "name of the trial, a function of its settings"),
    Column("status", _text, "how it ended: " + ", ".join(status for status in STATUSES if status != "running")),
    Column("attempts", _int, "how often it was started"),
    Column("method", _text, "lora or full"),
    Column("lora_r", _int, "LoRA rank; null for full fine-tuning"),
    Column("lora_alpha", _float, "LoRA alpha; null for full fine-tuning"),
    Column("seed", _int, "seed of initialisation and data order"),
    Column("trainable_parameters", _int, "parameters with a gradient"),
    Column("total_parameters", _int, "all parameters, adapter included"),
    Column("train_loss", _float, "the trainer's: mean loss over all steps, nats per token"),
    Column(
        "eval_loss", _float, "held-out loss after training: all examples' loss over all their tokens, nats per token"
    ),
    Column(
        "train_runtime",
        _float,
        "the trainer's: seconds of training, evaluation and saving in between included; of a resumed trial all attempts', "
        "steps made twice counted once, and null, like all rates, where that is not known",
    ),
    Column("train_samples_per_second", _float, "the trainer's: samples over train_runtime"),
    Column("train_steps_per_second", _float, "the trainer's: optimizer steps over train_runtime"),
    Column("train_tokens_per_second", _float, "non-padding tokens over train_runtime"),
    Column(
        "samples_per_second",
        _float,
        "rows per second of training alone: no evaluation, no saving, no warm-up steps. Under packing each row counts, "
        "where train_samples_per_second counts the packs",
    ),
    Column("steps_per_second", _float, "optimizer steps per second of training alone"),
    Column("tokens_per_second", _float, "non-padding tokens per second of training alone"),
    Column("padding_share", _float, "share of the trained positions that were padding, 0 to 1"),
    Column("steps", _int, "optimizer steps done: those that train_loss covers"),
    Column(
        "micro_batch",
        _int,
        "examples per forward pass after --on_oom shrink halved them; null where the settings' number was used",
    ),
    Column("pruned_step", _int, "step at which the scheduler decided to stop it; null unless it is pruned"),
    Column("pruned_metric", _text, "what the scheduler compared"),
    Column("pruned_value", _float, "the trial's value of it then"),
    Column("epochs", _float, "passes over the training rows"),
    Column("tokens", _int, "non-padding tokens trained on"),
    Column(
        "peak_memory_allocated_bytes", _int, "peak of torch.cuda.max_memory_allocated while training; null off CUDA"
    ),
    Column("peak_memory_reserved_bytes", _int, "peak of torch.cuda.max_memory_reserved while training; null off CUDA"),
    Column("eval_peak_memory_allocated_bytes", _int, "peak of max_memory_allocated while evaluating; null off CUDA"),
    Column(
        "peak_rss_bytes", _int, "peak resident memory of the trial's process since the trial began, of all attempts"
    ),
    Column("predicted_peak_memory_bytes", _int, "predicted peak_memory_allocated_bytes; null where none was made"),
    Column("device", _text, "cpu, cuda, …"),
    Column("device_name", _text, "model of the device"),
    Column(
        "gpus_per_trial",
        _float,
        "GPUs that the trial was given; below 1, it shared one, and times are those of a shared one",
    ),
    Column("hostname", _text, "machine that ran it last"),
    Column("process_reused", pa.bool_(), "ran in a process that had run another trial before"),
    Column("dropped_rows", _int, "step rows given up because the store stayed away"),
    Column("checkpoint", _text, "where the adapter or model is, relative to the sweep"),
    Column("log", _text, "where the worker's log is, relative to the sweep"),
    Column("error_type", _text, "class of the error"),
    Column("error_message", _text, "its message"),
    Column("started_at", _time, "begin of the last attempt"),
    Column("ended_at", _time, "when the row was written"),
    Column("config_hash", _text, "hash of settings"),
    Column("settings", _text, "JSON: every setting of the trial that differs from TRL's defaults"),
    Column("provenance", _text, "JSON: library versions, git commit, device, data and model fingerprints"),
)

STEPS = (
    Column("trial_id", _text, "the trial"),
    Column("attempt", _int, "the attempt that made this row, from 1"),
    Column("step", _int, "optimizer step, from 1"),
    Column("epoch", _float, "passes over the training rows so far"),
    Column("loss", _float, "training loss of this step, nats per token"),
    Column("learning_rate", _float, "learning rate of this step"),
    Column("grad_norm", _float, "gradient norm before clipping"),
    Column("step_time_s", _float, "seconds from the step's begin to its end"),
    Column("tokens", _int, "non-padding tokens of this step"),
    Column("memory_allocated_bytes", _int, "torch.cuda.memory_allocated after the step; null off CUDA"),
    Column("peak_memory_allocated_bytes", _int, "torch.cuda.max_memory_allocated so far; null off CUDA"),
    Column("peak_memory_reserved_bytes", _int, "torch.cuda.max_memory_reserved so far; null off CUDA"),
    Column("peak_rss_bytes", _int, "peak resident memory of the process so far"),
    Column("eval_loss", _float, "the trainer's held-out loss, on steps where it evaluated"),
    Column("timestamp", _time, "end of the step"),
)

EVALS = (
    Column("trial_id", _text, "the trial"),
    Column("example_id", _int, "row of the held-out split, the same for every trial"),
    Column("loss_sum", _float, "summed loss over the example's tokens, nats"),
    Column("tokens", _int, "tokens that have a loss"),
    Column("bytes", _int, "UTF-8 bytes of the text of those tokens"),
    Column("group", _text, "the cluster it belongs to, from the column that --dataset_group names; null without one"),
    Column("content_hash", _text, "hash of its tokens and of which of them have a loss: duplicates have the same"),
)

TABLES = {"trials": TRIALS, "steps": STEPS, "evals": EVALS}


def schema(columns: tuple[Column, ...], extra: dict[str, Any] | None = None) -> pa.Schema:
    """Arrow schema of the columns, followed by a field for each extra value (a grid's axes) in the value's own type."""
    fields = [pa.field(column.name, column.type) for column in columns]
    known = {column.name for column in columns}
    fields += [pa.field(name, _type_of(value)) for name, value in (extra or {}).items() if name not in known]
    return pa.schema(fields)


def _type_of(value: Any) -> pa.DataType:
    if value is None:
        return pa.null()  # whatever the other trials' values are
    for kind, arrow in ((bool, pa.bool_()), (int, _int), (float, _float)):
        if isinstance(value, kind):
            return arrow
    return _text


def markdown() -> str:
    """docs/columns.md: a table for each file kind."""
    lines = ["# Columns", "", "Made by `python -m sweep.store.columns`; null means not measured.", ""]
    for name, columns in TABLES.items():
        lines += [f"## `{name}`", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.type} | {column.meaning} |" for column in columns] + [""]
        if name == "trials":
            lines += [
                "After these, a column for each further axis of the grid (`--grid KEY=…`), under the setting's name.",
                "",
            ]
            lines += [
                "| status | means |",
                "|---|---|",
                *(f"| `{status}` | {meaning} |" for status, meaning in STATUSES.items()),
                "",
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
