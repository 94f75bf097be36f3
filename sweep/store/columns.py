"""Every column of a sweep's files, and how its values are shown: one definition makes the Arrow schemas, the checks, the
page docs/columns.md, the names of the JSON, the tables' headings and the report's plots.

Names are the Hugging Face trainer's where it has one; anything else says its unit. Null means "not measured".
"""

import pyarrow as pa

from sweep.common.column import Column, Metric

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
        "forgetting",
        _float,
        "what training added to the loss of the sets of --eval_dataset_name: loss after it less loss before, each over all tokens "
        "of a set; the mean over the sets",
        _LOSS,
        null="without such sets, and where scoring failed (see log)",
        metric=Metric("forgetting", shown=("table",), spread=True),
    ),
    Column(
        "eval_dataset_losses",
        _text,
        'JSON: of each of these sets by name, its loss `{"before": …, "after": …}`',
        null="as forgetting",
    ),
    Column(
        "exact_match",
        _float,
        "share of the held-out examples for which greedy generation after training gives the reference, whitespace around "
        "either aside (--eval_generation exact_match)",
        "share",
        "where it was not asked for, and where scoring failed (see log)",
        Metric("exact match", "max", shown=("table",)),
    ),
    Column(
        "exact_match_lower",
        _float,
        "lower bound of exact_match at 95 %, for this trained model on other examples: Clopper and Pearson's, exact unless "
        "clusters differ in size",
        "share",
        "as exact_match",
        Metric("exact match, at least", None),
    ),
    Column(
        "exact_match_upper",
        _float,
        "its upper bound",
        "share",
        "as exact_match",
        Metric("exact match, at most", None),
    ),
    Column(
        "scoring_time_s",
        _float,
        "what forgetting and exact_match took, before training and after it; not in train_runtime",
        "s",
        null="where neither was asked for",
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

SCORES = (
    Column("trial_id", _text, "the trial"),
    Column("metric", _text, "loss, or exact_match"),
    Column("dataset", _text, "the set of --eval_dataset_name", null="for the held-out rows of --dataset_name"),
    Column("example_id", _int, "row of the set, the same for every trial"),
    Column("tokens", _int, "tokens that have a loss", null="for exact_match"),
    Column(
        "before", _float, "of the model before training: summed loss over these tokens, in nats", null="for exact_match"
    ),
    Column("after", _float, "of the trained model: the same; for exact_match 1 where it matches, else 0"),
    Column("group", _text, "as in evals"),
    Column("content_hash", _text, "as in evals"),
    Column("expected", _text, "for exact_match: the reference"),
    Column("generated", _text, "for exact_match: what was generated"),
)

DECISIONS = (
    Column("sequence", _int, "its number, from 0"),
    Column("kind", _text, "value, best, out, shrunk, look, left or done: see docs/tune.md"),
    Column("rank", _text, "the rank that it is about: a number, or full", null="where it is about all"),
    Column("value", _float, "the tuned setting's value that it is about", null="where it is about none"),
    Column("text", _text, "the decision in words"),
    Column("numbers", _text, "JSON: what it was decided from"),
)

TABLES = {"trials": TRIALS, "steps": STEPS, "evals": EVALS, "scores": SCORES, "decisions": DECISIONS}
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
