"""A sweep's tokens, made once by `SFTTrainer`'s own preparation and shared as Arrow tables.

The driver calls `prepare` and puts the tables into Ray's object store; a trial turns them into a `Dataset` with
`dataset_of` and gives its `SFTTrainer` the arguments `READY`: it then trains on the batches that it would have made
itself.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.common.cache import cache_folder
from sweep.common.formatting import headline, reason
from sweep.common.names import Resolve, exists_locally
from sweep.common.quiet import quiet
from sweep.errors import Complaint, ConfigError, Problem
from sweep.space import SCORE_SETTINGS
from trainables.data import forms as formats
from trainables.data import mixtures
from trainables.data.rows import Rows
from trainables.data.sources import OFFLINE_WAYS, Settings
from trainables.data.token_cache import TokenCache

# The settings that affect tokens, with TRL's defaults (a test compares them with SFTConfig), so that a setting left out
# and one set to its default give the same key.
TOKEN_SETTINGS: dict[str, Any] = {
    "assistant_only_loss": False,
    "chat_template_path": None,
    "completion_only_loss": None,
    "dataset_text_field": "text",
    "eos_token": None,
    "max_length": 1024,
    "packing": False,
    "packing_strategy": "bfd",
    "seed": 42,
    "shuffle_dataset": False,
    "truncation_mode": "keep_start",
}
# The settings that select the rows and the tokenizer.
SOURCE_SETTINGS: dict[str, Any] = {
    "dataset_config": None,
    "dataset_group": None,
    "dataset_name": None,
    "dataset_test_split": "test",
    "dataset_train_split": "train",
    "datasets": None,
    "model_name_or_path": None,
    "model_revision": "main",
    "prompt_template": None,
    "test_split_seed": None,
    "test_split_size": None,
    "trust_remote_code": False,
}
ROW_SETTINGS = (
    *("dataset_config", "dataset_test_split", "dataset_train_split"),
    *("prompt_template", "test_split_seed", "test_split_size"),
)
# A trainer's arguments for tokens made here. TRL refuses assistant_only_loss for rows without messages; the labels
# already reflect it.
READY: dict[str, Any] = {"assistant_only_loss": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
_KEY = b"tokens"  # our entry in a table's metadata


@dataclass(frozen=True)
class Tokens:
    """A sweep's tokens.

    Attributes:
        train: `input_ids` and `labels` (lists), and `seq_lengths` if rows are packed; in training order.
        held_out: `input_ids`, `labels`, `example_id`, `bytes`, `content_hash` and `group` (the row's cluster, or null),
            never packed, in the trainer's order: with shuffle_dataset it shuffles these too. `bytes` counts the UTF-8
            bytes of the text of the tokens that have a loss: not the first, which nothing predicts, and no special
            tokens.
        fingerprint: of the rows.
        tokenizer: fingerprint of the tokenizer.
        key: hash of everything that affected the tokens; names them in the cache.
        warnings: about truncated or dropped rows, and TRL's own.
        cached: whether they were read from the cache.
        commit: of the Hub model whose tokenizer made them, which is the one to train; None for a local folder.
        sets: further held-out sets by name, as `held_out`; `prompts`: what to generate from (see trainables/scored).
    """

    train: pa.Table
    held_out: pa.Table
    fingerprint: str
    tokenizer: str
    key: str
    warnings: tuple[str, ...] = ()
    cached: bool = False
    commit: str | None = None
    sets: Mapping[str, pa.Table] = field(default_factory=dict)
    prompts: pa.Table | None = None


def token_settings(settings: Settings) -> dict[str, Any]:
    """The settings that affect tokens, with defaults filled in and ineffective ones left out."""
    chosen = _filled(settings, TOKEN_SETTINGS)
    if not chosen["shuffle_dataset"]:
        del chosen["seed"]
    del chosen["truncation_mode" if chosen["packing"] else "packing_strategy"]
    return chosen


def _filled(settings: Settings, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings.get(name, default) for name, default in defaults.items()}


def data_name(settings: Settings) -> str:
    """The data set as the user names it, with the settings that select its rows unless they are the defaults."""
    defaults = {**{name: SOURCE_SETTINGS[name] for name in ROW_SETTINGS}, "dataset_text_field": "text"}
    chosen = {name: value for name, value in _filled(settings, defaults).items() if value != defaults[name]}
    said = ", ".join(f"{name}={json.dumps(value)}" for name, value in chosen.items())
    named = " + ".join(mixtures.names(settings)) or str(settings.get("dataset_name"))
    return named + (f" ({said})" if said else "")


def data_key(settings: Settings) -> str:
    """Hash of the settings that affect tokens: trials with the same key share one `Tokens`."""
    scored = {name: settings[name] for name in SCORE_SETTINGS if settings.get(name) is not None}
    return _hash({**_filled(settings, SOURCE_SETTINGS), **token_settings(settings), **scored})


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def prepare(
    rows: Rows,
    settings: Settings,
    resolve: Resolve,
    cache_dir: Path | str | None = None,
    on_make: Callable[[], None] = lambda: None,
) -> Tokens:
    """The rows' tokens, from the cache if possible.

    Args:
        rows: as returned by `load_rows`.
        settings: a trial's settings under TRL's names.
        resolve: maps a user's path to an existing local one, and returns any other name unchanged.
        cache_dir: the cache's folder; `sweep.common.cache.cache_folder("tokens")` if None.
        on_make: called before tokens that are not cached are made.

    Raises:
        ConfigError: there is no such tokenizer, or TRL refuses to prepare these rows with these settings.
    """
    settings = resolved(settings, resolve)
    with quiet():
        tokenizer = load_tokenizer(settings, str)
        printed = tokenizer_fingerprint(tokenizer)
        shaping = {**token_settings(settings), "chat_template_path": _template_print(settings)}
        key = _hash([rows.fingerprint, printed, shaping, _versions()])
        folder = Path(cache_dir) if cache_dir else cache_folder("tokens")
        found = TokenCache(folder).load(key) if folder else None
        if not found:
            on_make()
        tables, warnings = found or _make(rows, settings, tokenizer, key)
    if found is None:
        warnings = [*warnings, *_kept(folder, key, tables, warnings)]
    return Tokens(
        tables["train"], tables["held_out"], rows.fingerprint, printed, key, tuple(warnings), found is not None
    )


def _kept(folder: Path | None, key: str, tables: Mapping[str, pa.Table], warnings: Sequence[str]) -> list[str]:
    """Writes tokens to the cache; returns why if that fails."""
    head = "tokens are not cached for the next sweep: "
    if folder is None:
        return [f"{head}this user has no home directory. Set XDG_CACHE_HOME to a folder for them."]
    try:
        TokenCache(folder).save(key, tables, warnings)
    except OSError as error:
        return [f"{head}{folder} cannot be written to: {reason(error)}"]
    return []


def dataset_of(table: pa.Table) -> Any:
    """The table as a `datasets.Dataset`, without copying or writing anything; for worker and driver alike."""
    from datasets import Dataset
    from datasets.table import InMemoryTable

    # With a given fingerprint, the library need not hash the whole table.
    name = (table.schema.metadata or {}).get(_KEY)
    return Dataset(InMemoryTable(table), fingerprint=name.decode() if name else None)


# --- what the key is made of -------------------------------------------------------------------------------------------


def resolved(settings: Settings, resolve: Resolve) -> dict[str, Any]:
    """The settings with paths resolved on this machine."""
    paths = {name: settings.get(name) for name in ("model_name_or_path", "chat_template_path")}
    return {**settings, **{name: resolve(path) for name, path in paths.items() if isinstance(path, str) and path}}


def tokenizer_complaints(settings: Settings, resolve: Resolve, rows: Rows | None = None) -> list[Problem]:
    """What is wrong with the tokenizer, its end token or the chat template, before they are used.

    `rows` are the rows to be tokenized, if known.
    """
    with quiet():
        try:
            tokenizer = load_tokenizer(settings, resolve)
        except ConfigError as error:
            return list(error.complaints)
    ends, template = settings.get("eos_token"), settings.get("chat_template_path")
    found: list[Problem] = []
    vocabulary = tokenizer.get_vocab()
    if ends and ends not in vocabulary:
        found.append(
            Complaint(
                "eos_token", f" {ends!r} is not among the tokenizer's {len(vocabulary)} tokens. Name one of them."
            )
        )
    if template and looks_like_a_template(template) and not exists_locally(resolve(template)):
        found.append(Complaint("chat_template_path", f": there is no file {template!r}. Correct the path."))
    if rows and (odd := _tokens_outside(rows, len(tokenizer))):
        found.append(
            f"input_ids holds the token {odd[0]}, and the model's tokenizer has {len(tokenizer)}: another one made these rows. "
            "Make them with this model's, or give their text."
        )
    if rows and formats.conversational(rows.train.data.table) and not template and not tokenizer.chat_template:
        found.append(
            Complaint(
                "chat_template_path",
                ": the rows are conversations, and the model's tokenizer has no chat template to write "
                "them with. Name a Jinja file, or a model whose template to take.",
            )
        )
    return found


def _tokens_outside(rows: Rows, count: int) -> list[int]:
    """Of the tokens that the rows consist of, the highest and the lowest of a split, if the tokenizer has no such ones."""
    tables = [data.data.table for data in (rows.train, rows.held_out) if "input_ids" in data.column_names]
    ends = [pc.min_max(pc.list_flatten(table["input_ids"])).as_py() for table in tables]
    return [end[key] for key in ("max", "min") for end in ends if end[key] is not None and not 0 <= end[key] < count]


def looks_like_a_template(name: str) -> bool:
    """Whether a name is that of a file; otherwise it may be a tokenizer on the Hub."""
    return name.endswith((".jinja", ".j2", ".txt")) or name.startswith((".", "/", "~")) or "/" not in name


def load_tokenizer(settings: Settings, resolve: Resolve) -> Any:
    """The model's own tokenizer.

    Raises:
        ConfigError: there is none.
    """
    from transformers import AutoTokenizer

    name = str(settings.get("model_name_or_path"))
    try:
        return AutoTokenizer.from_pretrained(
            resolve(name),
            revision=settings.get("model_revision") or "main",
            trust_remote_code=bool(settings.get("trust_remote_code")),
        )
    except Exception as error:  # the loaders have no common base
        fix = "Copy the model's tokenizer.json and tokenizer_config.json into the folder."
        if not exists_locally(resolve(name)):
            fix = f"Give a folder with the model's tokenizer files, or a Hub name; where the Hub is out of reach: {OFFLINE_WAYS}."
        raise ConfigError(
            [
                Complaint(
                    "model_name_or_path",
                    f": no tokenizer can be loaded from {name!r}: {headline(error).rstrip(' :.')}. {fix}",
                )
            ]
        ) from error


def fingerprint_of_tokenizer(settings: Settings, resolve: Resolve) -> str:
    """Fingerprint of the model's tokenizer.

    Raises:
        ConfigError: there is no such tokenizer.
    """
    with quiet():
        return tokenizer_fingerprint(load_tokenizer(settings, resolve))


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of the files that the tokenizer saves, that is, of its content, wherever it was loaded from."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return _hash([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files])


def _template_print(settings: Settings) -> str | None:
    """The content of chat_template_path, whether it names a Jinja file or a tokenizer."""
    path = settings.get("chat_template_path")
    if not path:
        return None
    if Path(path).is_file():
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return tokenizer_fingerprint(load_tokenizer({"model_name_or_path": path}, str))


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("trl", "transformers", "tokenizers")} | {"layout": "3"}


def _make(rows: Rows, settings: Settings, tokenizer: Any, key: str) -> tuple[dict[str, pa.Table], list[str]]:
    from trainables.data.preparation import tokenize

    tables, warnings = tokenize(rows.train, rows.held_out, settings, tokenizer)
    clusters = pa.nulls(len(rows.held_out), pa.large_string()) if rows.clusters is None else rows.clusters
    held = tables["held_out"]
    tables["held_out"] = held.append_column("group", clusters.take(held["example_id"].combine_chunks()))
    named = {
        name: table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: f"{key}-{name}"})
        for name, table in tables.items()
    }
    return named, warnings
