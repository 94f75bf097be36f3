"""Runs `SFTTrainer`'s own preparation on the CPU, with a toy model in place of the real one, and takes the tokens from it.

It runs in two passes, both through the trainer's public constructor: first tokens and labels of whole rows, then
truncating, dropping, packing and shuffling of those. The result is that of one pass (a test compares them), and in between
the rows that are too long can be counted, which look like any other afterwards.
"""

import hashlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sweep.common.formatting import headline
from sweep.common.quiet import warnings_of
from sweep.errors import Complaint, ConfigError
from trainables.data.length import with_lengths

_FIRST = ("assistant_only_loss", "chat_template_path", "completion_only_loss", "dataset_num_proc", "dataset_text_field")
_SECOND = ("max_length", "packing", "packing_strategy", "seed", "shuffle_dataset", "truncation_mode")
_MASKED = -100


def tokenize(
    train: Any, held_out: Any, settings: Mapping[str, Any], tokenizer: Any
) -> tuple[dict[str, pa.Table], list[str]]:
    """The tables `train` and `held_out` as `tokens.Tokens` describes them, and warnings.

    Args:
        train, held_out: `datasets.Dataset`s in a form TRL knows.
        settings: under TRL's names; unrelated ones are ignored.
        tokenizer: the model's; modified as TRL does (pad token, a cloned chat template).

    Raises:
        ConfigError: TRL refuses, or no row is left.
    """
    _check_eos(train, settings, tokenizer)
    held_out = held_out.add_column("example_id", list(range(len(held_out))))
    with warnings_of("trl") as said:
        first = {name: settings[name] for name in (*_FIRST, "eos_token") if name in settings}
        made = _prepared(train, held_out, {**first, "max_length": None}, tokenizer)
        whole = (
            made[0].select_columns(["input_ids", "labels"]),
            made[1].select_columns(["input_ids", "labels", "example_id"]),
        )
        second = {name: settings[name] for name in _SECOND if name in settings}
        ready = _prepared(whole[0], whole[1], second, tokenizer)
    lines = list(dict.fromkeys(line.removeprefix("[RANK 0] ") for line in said))
    for name, before, after in zip(("training", "held-out"), whole, ready, strict=True):
        packed = bool(settings.get("packing")) and name == "training"
        lines += _losses(name, before, after, settings, packed)
    lengths, limit = _lengths(whole[0]), settings.get("max_length", 1024)
    tables = {"train": with_lengths(_table(ready[0]), lengths, limit), "held_out": _table(ready[1])}
    held = tables["held_out"]
    tables["held_out"] = held.append_column("bytes", _text_bytes(held, tokenizer)).append_column(
        "content_hash", _content_hashes(held)
    )
    return {name: table.combine_chunks() for name, table in tables.items()}, lines


def tokenize_alone(held_out: Any, settings: Mapping[str, Any], tokenizer: Any, name: str) -> tuple[pa.Table, list[str]]:
    """The table `held_out` of `tokenize` for rows that come without any to train on, and warnings that call them by `name`.

    Raises:
        ConfigError: TRL refuses, or no row is left.
    """
    _check_eos(held_out, settings, tokenizer)
    rows = held_out.add_column("example_id", list(range(len(held_out))))
    first = {key: settings[key] for key in (*_FIRST, "eos_token") if key in settings}
    second = {key: settings[key] for key in ("max_length", "truncation_mode") if key in settings}
    with warnings_of("trl") as said:
        whole, _ = _prepared(rows, None, {**first, "max_length": None}, tokenizer)
        whole = whole.select_columns(["input_ids", "labels", "example_id"])
        ready, _ = _prepared(whole, None, second, tokenizer)
    lines = [*dict.fromkeys(said), *_losses(name, whole, ready, settings, packed=False)]
    table = _table(ready)
    table = table.append_column("bytes", _text_bytes(table, tokenizer))
    return table.append_column("content_hash", _content_hashes(table)).combine_chunks(), lines


def as_trained(rows: Any, settings: Mapping[str, Any], tokenizer: Any) -> Any:
    """The tokenizer with the end token and the chat template that a trainer with these settings gives it."""
    chosen = {key: settings[key] for key in ("chat_template_path", "eos_token") if key in settings}
    _prepared(rows.select([0]), None, {**chosen, "max_length": None}, tokenizer)
    return tokenizer


def _check_eos(train: Any, settings: Mapping[str, Any], tokenizer: Any) -> None:
    plain_text = getattr(train.features[train.column_names[0]], "dtype", "") in ("string", "large_string")
    if plain_text and tokenizer.eos_token is None and not settings.get("eos_token"):
        raise ConfigError(
            [
                Complaint(
                    "eos_token",
                    ": the model's tokenizer has no token that ends a text. Name one of its tokens with --eos_token.",
                )
            ]
        )


def _prepared(train: Any, held_out: Any, settings: Mapping[str, Any], tokenizer: Any) -> tuple[Any, Any]:
    """The two data sets as an `SFTTrainer` with these settings prepares them. Touches no accelerator."""
    from jinja2 import TemplateError
    from trl import SFTConfig, SFTTrainer

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each trial's own trainer repeats deprecation warnings
        try:
            args = SFTConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                activation_checkpointing=False,  # TRL's own default triggers a warning about its old name
                report_to="none",
                disable_tqdm=True,
                eval_packing=False,
                **settings,
            )
            trainer = SFTTrainer(
                model=_toy(tokenizer),
                args=args,
                train_dataset=train,
                eval_dataset=held_out,
                processing_class=tokenizer,
            )
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, OSError, TemplateError) as error:
            raise ConfigError(
                [f"SFTTrainer cannot prepare the data with these settings: {headline(error)}."]
            ) from error
    return trainer.train_dataset, trainer.eval_dataset


def _toy(tokenizer: Any) -> Any:
    """A tiny model that accepts the tokenizer's ids; it is never run."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))


def _losses(name: str, before: Any, after: Any, settings: Mapping[str, Any], packed: bool) -> Iterator[str]:
    """Warnings about what truncation to max_length removed."""
    limit = settings.get("max_length", 1024)
    if limit is None:
        return
    longer = int((_lengths(before) > limit).sum())
    split = packed and settings.get("packing_strategy", "bfd") != "bfd"
    if longer:
        what = "split over several sequences" if split else "cut"
        yield f"{longer} of {len(before)} {name} rows are longer than max_length {limit} tokens: {what}."
    dropped = 0 if packed else len(before) - len(after)
    if dropped:
        yield f"{dropped} of {len(before)} {name} rows have no token with a loss within max_length {limit}: left out."
    if not len(after):
        raise ConfigError(
            [
                Complaint(
                    "max_length",
                    f" {limit}: no {name} row has a token with a loss within it. Raise it, or shorten the prompts.",
                )
            ]
        )


def _lengths(data: Any) -> Any:
    return pa.compute.list_value_length(data.with_format("arrow")["input_ids"][:]).to_numpy()


def _table(data: Any) -> pa.Table:
    columns = [name for name in ("input_ids", "labels", "seq_lengths", "example_id") if name in data.column_names]
    return data.select_columns(columns).with_format("arrow")[:]


def _text_bytes(table: pa.Table, tokenizer: Any) -> pa.Array:
    ids, labels = table["input_ids"].to_pylist(), table["labels"].to_pylist()
    return pa.array([_bytes_of(*pair, tokenizer) for pair in zip(ids, labels, strict=True)], pa.int64())


def _content_hashes(table: pa.Table) -> pa.Array:
    """A hash of each row's tokens and labels: what the model sees and is evaluated on."""
    pairs = zip(table["input_ids"].to_pylist(), table["labels"].to_pylist(), strict=True)
    return pa.array([hashlib.blake2b(repr(pair).encode(), digest_size=8).hexdigest() for pair in pairs], pa.string())


def _bytes_of(ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> int:
    """UTF-8 bytes that the tokens with a loss add to the row's text.

    Computed as differences of decoded prefixes: a token decoded alone may lose its leading space, or be half a character.
    """

    def until(end: int) -> int:
        text = tokenizer.decode(ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return len(text.encode("utf-8", "replace"))

    return sum(until(end) - until(start) for start, end in _runs(labels))


def _runs(labels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Spans (start, end) of positions that have a loss: not masked, and not the first, which nothing predicts."""
    start = None
    for position, label in enumerate([*labels, _MASKED]):
        scored = position > 0 and label != _MASKED
        if scored and start is None:
            start = position
        if not scored and start is not None:
            yield start, position
            start = None
