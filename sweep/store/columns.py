"""Every column of a sweep's files, and how its values are shown: one definition makes the Arrow schemas, the checks, the
page docs/columns.md, the names of the JSON, the tables' headings and the report's plots.

Names are the Hugging Face trainer's where it has one; anything else says its unit. Null means "not measured".
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from sweep.common.formatting import with_spread

SCHEMA_VERSION = 1

STATUSES = {
    "completed": "trained to its last step and evaluated",
    "pruned": "stopped early by the scheduler; not trained as long as the others",
    "oom": "ran out of accelerator memory; its peaks are those reached until then",
    "failed": "raised an error, or its process died (error_type ProcessDied, or HostOutOfMemory where that is known)",
    "diverged": "its loss became NaN or infinite",
    "rejected": "not trained, since its predicted memory fits no card (--admit); error_message says which it was compared with",
    "interrupted": "the sweep was stopped while it ran; the same command resumes it",
    "running": "has no row yet: derived by the reader, never written",
}
AGAIN = frozenset({"failed", "interrupted", "rejected"})  # endings that the same command tries again


Direction = Literal["min", "max"]
# In the comparison's table; as the loss against it, with the Pareto front; as a bar for each configuration; by optimizer step.
Place = Literal["table", "front", "bars", "curves"]


@dataclass(frozen=True)
class Metric:
    """How a column's values are compared and shown, everywhere the same.

    Attributes:
        label: heading in tables, name on axes.
        better: which way is better; None where neither is.
        shown: where, besides the JSON and the CSV, which have every metric of a trial.
        over_seeds: what a configuration has of its trials' values.
        spread: their standard deviation is given too: as NAME_sd, and after the mean in tables.
        foreseen: it is known before a trial runs, so a configuration has it of all its trials, not of the completed ones.
        instead_of: a metric that it stands in for where nobody measured that one.
    """

    label: str
    better: Direction | None = "min"
    shown: tuple[Place, ...] = ()
    over_seeds: Literal["mean", "largest"] = "mean"
    spread: bool = False
    foreseen: bool = False
    instead_of: str = ""


@dataclass(frozen=True)
class Column:
    """A column's name, Arrow type and meaning.

    Attributes:
        unit: of its values; of the losses that which TRL's trainer has, unless the trainable's LOSS_UNIT says another.
        null: when it is null, beyond "not measured".
        metric: set where the answer gives the column.
        derived: by the reader, of each trial; in no file.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    null: str = ""
    metric: Metric | None = None
    derived: bool = False

    @property
    def shown_as(self) -> Metric:
        """How it is shown; for a column that is a metric."""
        assert self.metric, self.name
        return self.metric

    @property
    def label(self) -> str:
        return self.shown_as.label

    def text(self, value: float | None, deviation: float | None = None) -> str:
        """A value as a person reads it, with its unit where that is not in the label; a dash where it was not measured."""
        return with_spread(value, deviation, self.unit, whole=pa.types.is_integer(self.type))


_LOSS = "nats/token"
_OFF_CUDA = "off CUDA"
_text, _int, _float = pa.string(), pa.int64(), pa.float64()
_time = pa.timestamp("us", tz="UTC")

_TRIALS = (
    Column("trial_id", _text, "name of the trial, a function of its settings"),
    Column("status", _text, "how it ended: " + ", ".join(status for status in STATUSES if status != "running")),
    Column("attempts", _int, "how often it was started"),
    Column("method", _text, "lora or full"),
    Column("lora_r", _int, "LoRA rank", null="for full fine-tuning"),
    Column("lora_alpha", _float, "LoRA alpha", null="for full fine-tuning"),
    Column("seed", _int, "seed of initialization and data order"),
    Column(
        "eval_loss",
        _float,
        "held-out loss after training: all examples' loss over all their tokens",
        _LOSS,
        metric=Metric("held-out loss", spread=True),
    ),
    Column(
        "cut_losses",
        _text,
        "JSON: held-out loss of the trained adapter cut to each smaller LoRA rank of the sweep by SVD, by rank",
        null="but for the largest rank; where evaluating would take over a tenth of the training; where it failed (see log)",
    ),
    Column(
        "bits_per_byte",
        _float,
        "held-out loss after training, over the bytes of the examples' text: comparable across tokenizers",
        "bits/byte",
        "where the trainable's LOSS_UNIT is no nats per token",
        Metric("held-out bits per byte"),
        derived=True,
    ),
    Column(
        "train_loss",
        _float,
        "the trainer's: mean loss over all steps",
        _LOSS,
        metric=Metric("training loss", shown=("table",), spread=True),
    ),
    Column(
        "train_runtime",
        _float,
        "the trainer's: time of training, evaluation and saving in between included; of a resumed trial all attempts', "
        "steps made twice counted once",
        "s",
        null="where that is not known, and so are all rates",
        metric=Metric("training time", shown=("table", "front")),
    ),
    Column(
        "train_samples_per_second",
        _float,
        "samples trained on over train_runtime, as the trainer counts them",
        "1/s",
        metric=Metric("samples/s", "max", shown=("table", "bars")),
    ),
    Column(
        "train_steps_per_second",
        _float,
        "optimizer steps over train_runtime",
        "1/s",
        metric=Metric("steps/s", "max", shown=("table",)),
    ),
    Column("train_tokens_per_second", _float, "non-padding tokens over train_runtime", "1/s"),
    Column(
        "samples_per_second",
        _float,
        "rows per second of training alone: no evaluation, no saving, no warm-up steps. Under packing each row counts, "
        "where train_samples_per_second counts the packs",
        "1/s",
    ),
    Column("steps_per_second", _float, "optimizer steps per second of training alone", "1/s"),
    Column("tokens_per_second", _float, "non-padding tokens per second of training alone", "1/s"),
    Column("padding_share", _float, "share of the trained positions that were padding, 0 to 1"),
    Column("steps", _int, "optimizer steps done: those that train_loss covers"),
    Column(
        "micro_batch",
        _int,
        "examples per forward pass after --on_oom shrink halved them",
        null="where the settings' number was used",
    ),
    Column("pruned_step", _int, "step at which the scheduler decided to stop it", null="unless it is pruned"),
    Column("pruned_metric", _text, "what the scheduler compared"),
    Column("pruned_value", _float, "the trial's value of it then"),
    Column("epochs", _float, "passes over the training rows"),
    Column("tokens", _int, "non-padding tokens trained on"),
    Column(
        "peak_memory_allocated_bytes",
        _int,
        "peak of torch.cuda.max_memory_allocated while training",
        "bytes",
        _OFF_CUDA,
        Metric("peak GPU memory", shown=("table", "front"), over_seeds="largest"),
    ),
    Column(
        "peak_memory_reserved_bytes",
        _int,
        "peak of torch.cuda.max_memory_reserved while training",
        "bytes",
        _OFF_CUDA,
        Metric("peak GPU memory reserved", over_seeds="largest"),
    ),
    Column(
        "eval_peak_memory_allocated_bytes", _int, "peak of max_memory_allocated while evaluating", "bytes", _OFF_CUDA
    ),
    Column(
        "peak_rss_bytes",
        _int,
        "peak resident memory of the trial's process on the host since the trial began, of all attempts",
        "bytes",
        metric=Metric(
            "peak RSS (host)", shown=("table",), over_seeds="largest", instead_of="peak_memory_allocated_bytes"
        ),
    ),
    Column(
        "predicted_peak_memory_bytes",
        _int,
        "predicted peak_memory_allocated_bytes, as on CUDA wherever it ran",
        "bytes",
        "where none was made",
        Metric("predicted peak GPU memory", None, shown=("table",), over_seeds="largest", foreseen=True),
    ),
    Column(
        "predicted_peak_memory_error",
        _float,
        "how far predicted_peak_memory_bytes is above peak_memory_allocated_bytes, as a share of that",
        "relative",
        "where either is",
        Metric("off by", None, shown=("table",)),
        derived=True,
    ),
    Column("trainable_parameters", _int, "parameters with a gradient", metric=Metric("trainable", shown=("table",))),
    Column("total_parameters", _int, "all parameters, adapter included"),
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
    Column(
        "checkpoint",
        _text,
        "where the adapter or model is, relative to the sweep; of a trial that did not come to its end, what it can be "
        "resumed from",
    ),
    Column("log", _text, "where the worker's log is, relative to the sweep"),
    Column("error_type", _text, "class of the error"),
    Column("error_message", _text, "its message"),
    Column("started_at", _time, "begin of the last attempt"),
    Column("ended_at", _time, "when the row was written"),
    Column("config_hash", _text, "hash of settings"),
    Column("settings", _text, "JSON: every setting of the trial that differs from TRL's defaults"),
    Column("provenance", _text, "JSON: library versions, git commit, device, data and model fingerprints"),
)
TRIALS = tuple(column for column in _TRIALS if not column.derived)

STEPS = (
    Column("trial_id", _text, "the trial"),
    Column("attempt", _int, "the attempt that made this row, from 1"),
    Column("step", _int, "optimizer step, from 1"),
    Column("epoch", _float, "passes over the training rows so far"),
    Column("loss", _float, "training loss of this step", _LOSS, metric=Metric("training loss")),
    Column("learning_rate", _float, "learning rate of this step"),
    Column("grad_norm", _float, "gradient norm before clipping"),
    Column("step_time_s", _float, "from the step's begin to its end", "s"),
    Column("tokens", _int, "non-padding tokens of this step"),
    Column(
        "memory_allocated_bytes",
        _int,
        "what torch.cuda.memory_allocated says after the step",
        "bytes",
        _OFF_CUDA,
        Metric("GPU memory", shown=("curves",)),
    ),
    Column("peak_memory_allocated_bytes", _int, "torch.cuda.max_memory_allocated so far", "bytes", _OFF_CUDA),
    Column("peak_memory_reserved_bytes", _int, "torch.cuda.max_memory_reserved so far", "bytes", _OFF_CUDA),
    Column(
        "peak_rss_bytes",
        _int,
        "peak resident memory of the trial's process on the host so far",
        "bytes",
        metric=Metric("process memory", shown=("curves",), instead_of="memory_allocated_bytes"),
    ),
    Column(
        "eval_loss",
        _float,
        "the trainer's held-out loss, on steps where it evaluated",
        _LOSS,
        metric=Metric("held-out loss", shown=("curves",)),
    ),
    Column("timestamp", _time, "end of the step"),
)

EVALS = (
    Column("trial_id", _text, "the trial"),
    Column("example_id", _int, "row of the held-out split, the same for every trial"),
    Column("loss_sum", _float, "summed loss over the example's tokens", "nats"),
    Column("tokens", _int, "tokens that have a loss"),
    Column("bytes", _int, "UTF-8 bytes of the text of those tokens", "bytes"),
    Column("group", _text, "the cluster it belongs to, from the column that --dataset_group names", null="without one"),
    Column("content_hash", _text, "hash of its tokens and of which of them have a loss: duplicates have the same"),
)

DECISIONS = (
    Column("sequence", _int, "its number, from 0"),
    Column("kind", _text, "value, best, out, shrunk, look, left or done: see docs/tune.md"),
    Column("rank", _text, "the rank that it is about: a number, or full", null="where it is about all"),
    Column("value", _float, "the tuned setting's value that it is about", null="where it is about none"),
    Column("text", _text, "the decision in words"),
    Column("numbers", _text, "JSON: what it was decided from"),
)

TABLES = {"trials": TRIALS, "steps": STEPS, "evals": EVALS, "decisions": DECISIONS}
LOSSES = tuple(column.name for column in TRIALS if column.unit == _LOSS)
# What the answer gives, in its order: of a configuration, and of a trial's steps.
METRICS = {column.name: column for column in _TRIALS if column.metric}
STEP_METRICS = {column.name: column for column in STEPS if column.metric}
# What --prefer names, in the order in which costs decide.
COSTS = {
    "memory": "peak_memory_allocated_bytes",
    "time": "train_runtime",
    "parameters": "trainable_parameters",
}


def is_shown(column: Column, place: Place, measured: Collection[str] = ()) -> bool:
    """Whether a place shows a column: no stand-in where what it stands in for was measured."""
    metric = column.metric
    return metric is not None and place in metric.shown and metric.instead_of not in measured


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
    lines = [
        "# Columns",
        "",
        "Made by `python -m docs.generate`; null means not measured. Losses are in the unit",
    ]
    lines += ["that the trainable declares (`loss_unit` in sweep.json): nats per token unless it is another's.", ""]
    for name, columns in TABLES.items():
        lines += [f"## `{name}`", "", "| column | type | unit | better | meaning |", "|---|---|---|---|---|"]
        lines += [_line(column) for column in columns] + [""]
        if name == "trials":
            lines += [
                "After these, a column for each further axis of the grid (`--grid KEY=…`), under the setting's name. The",
                "reader derives:",
                "",
                "| column | type | unit | better | meaning |",
                "|---|---|---|---|---|",
                *(_line(column) for column in METRICS.values() if column.derived),
                "",
                "| status | means |",
                "|---|---|",
                *(f"| `{status}` | {meaning} |" for status, meaning in STATUSES.items()),
                "",
            ]
    return "\n".join(lines)


def _line(column: Column) -> str:
    better = {"min": "lower", "max": "higher", None: "neither"}[column.metric.better] if column.metric else ""
    null = f"; null {column.null}" if column.null else ""
    return f"| `{column.name}` | {column.type} | {column.unit} | {better} | {column.meaning}{null} |"
