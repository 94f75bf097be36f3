"""Further held-out sets, which measure what training makes a model forget.

A set is read as the data set is, in any of its formats, and has held-out rows only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sweep.common.formatting import first_few
from sweep.common.names import Resolve
from sweep.common.quiet import quiet
from sweep.errors import Complaint, ConfigError, Problem
from trainables.data import forms as formats
from trainables.data import tokens
from trainables.data.clusters import sample
from trainables.data.forms import COLUMNS, Notes
from trainables.data.rows import DEFAULT_MOST, SPLIT_SEED, Rows, rows_of, stop_at, usable
from trainables.data.sources import Settings, Source, read_source

KEY, CONFIG = "eval_dataset_name", "eval_dataset_config"
_ABOUT_TRAINING = ("dataset_group", "datasets", "packing", "shuffle_dataset", "test_split_seed", "test_split_size")


@dataclass(frozen=True)
class Set:
    """A further held-out set.

    Attributes:
        rows: its rows, as `held_out`; `train` is the same.
        of: how many it has, of which these are at most DEFAULT_MOST.
        own: settings that it is read and tokenized with where those of the data set do not suit it.
    """

    name: str
    rows: Rows
    of: int
    own: Mapping[str, Any]

    @property
    def count(self) -> int:
        return len(self.rows.held_out)

    def __str__(self) -> str:
        part = f" of {self.of:,}, drawn once" if self.of > self.count else ""
        return f"{self.name}: {self.count:,} rows{part}"


def names(settings: Settings) -> list[str]:
    """The further sets that the settings name, each once; what is no name, as YAML may have it, as text that names nothing."""
    return list(dict.fromkeys(map(str, settings.get(KEY) or ())))


def load_set(name: str, settings: Settings, resolve: Resolve) -> Set:
    """Reads and checks a further set: the split of --dataset_test_split if it has one, or else its only split.

    Raises:
        ConfigError: it cannot be used; carries every complaint.
    """
    own: dict[str, Any] = {"dataset_name": name, "dataset_config": settings.get(CONFIG)}
    notes = Notes()
    if not name:
        raise ConfigError([Complaint(KEY, f": expected files or Hub names, got {name!r} among them. Correct it.")])
    try:
        source = read_source(_with(settings, own), resolve, formats.wanted(settings) | set(COLUMNS["text"]))
        split = _split(source, settings)
        own |= _suiting(source, split, settings)
        table, form = usable(source, split, _with(settings, own), notes)
        stop_at(notes)
    except ConfigError as error:
        raise ConfigError([_renamed(one) for one in error.complaints]) from error
    table = formats.to_trl(table, form, _with(settings, own), notes)
    if not formats.conversational(table, turns=False):
        own["assistant_only_loss"] = False  # which TRL refuses for such rows
    total = table.num_rows
    if total > DEFAULT_MOST:
        table = table.take(sorted(sample(table, DEFAULT_MOST, SPLIT_SEED)))
    rows = rows_of(table.slice(0, 0), table, notes)
    return Set(name, replace(rows, train=rows.held_out), total, own)


def _with(settings: Settings, own: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep's settings, without those that are about training rows, and with a set's own."""
    return {**{key: value for key, value in settings.items() if key not in _ABOUT_TRAINING}, **own}


def _split(source: Source, settings: Settings) -> str:
    test, found = settings.get("dataset_test_split") or "test", sorted(source.splits)
    if test in found or len(found) == 1:
        return test if test in found else found[0]
    text = f" {source.name}: it has no split {test!r}, and several others: {first_few(found)}. "
    raise ConfigError([Complaint(KEY, f"{text}Give a file with the rows.")])


def _suiting(source: Source, split: str, settings: Settings) -> dict[str, Any]:
    """What is said of the data set's columns is of no use where a set has others."""
    columns = {column for part in source.splits[split] for column in part.columns}
    found: dict[str, Any] = {}
    if not columns.issuperset(COLUMNS["instruction"]):
        found["prompt_template"] = None
    if settings.get("dataset_text_field") not in columns:
        found["dataset_text_field"] = "text"
    return found


def _renamed(problem: Problem) -> Problem:
    """A complaint about the data set as one about this set."""
    if not isinstance(problem, Complaint):
        return problem
    keys = {"dataset_name": KEY, "dataset_config": CONFIG}
    text = problem.text
    for key, own in keys.items():
        text = text.replace(f"--{key}", f"--{own}")
    return replace(problem, key=keys.get(problem.key, problem.key), text=text)


def tokens_of(one: Set, settings: Settings, resolve: Resolve) -> tuple[pa.Table, list[str]]:
    """A further set's tokens, with the columns of `Tokens.held_out`, and warnings.

    Raises:
        ConfigError: TRL refuses to prepare its rows with these settings.
    """
    from trainables.data.preparation import tokenize_alone

    own = tokens.resolved(_with(settings, one.own), resolve)
    with quiet():
        table, warnings = tokenize_alone(one.rows.held_out, own, tokens.load_tokenizer(own, str), one.name)
    return table.append_column("group", pa.nulls(table.num_rows, pa.large_string())), warnings
