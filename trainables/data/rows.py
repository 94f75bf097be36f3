"""Rows from any supported source and format, checked, with a held-out split that is the same for every trial.

The held-out rows are the data set's own test split if it has one. Otherwise they are drawn once, with a seed of their own:
every trial, training seed and machine has the same ones, and a row is never in both splits.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sweep.common.formatting import first_few, reason
from sweep.common.names import Resolve
from sweep.errors import Complaint, ConfigError, Problem
from trainables.data import forms as formats
from trainables.data import mixtures, nested
from trainables.data.clusters import complaints as cluster_complaints
from trainables.data.clusters import sample, split_off, with_clusters
from trainables.data.files import Part
from trainables.data.forms import Notes
from trainables.data.sources import Settings, Source, read_source

DEFAULT_SHARE, DEFAULT_MOST = 0.1, 1_000  # held-out rows by default: a tenth of the rows, at most a thousand
_OF_ONE = ("dataset_config", "dataset_train_split", "dataset_test_split")  # settings of a single data set
SPLIT_SEED = 20_240_229  # unless test_split_seed is given
_MOST_BLANK = 0.1  # of a split's rows: if more are blank, it is probably the wrong column or a broken export


@dataclass(frozen=True)
class Rows:
    """A sweep's data in a format that TRL knows.

    Attributes:
        train: `datasets.Dataset` of the rows to train on, in the source's order.
        held_out: `datasets.Dataset` of the held-out rows; a row's index here is its `example_id`.
        fingerprint: hash of the content of both; the same on every machine, wherever the files are.
        warnings: what the user should know but need not fix.
        clusters: `pyarrow` array of the held-out rows' clusters, as strings; null if a row has none.
    """

    train: Any
    held_out: Any
    fingerprint: str
    warnings: tuple[str, ...]
    clusters: Any = None


def complaints_about_rows(settings: Settings, resolve: Resolve) -> list[Problem]:
    """Everything that is wrong with the data, with what was found and how to fix it."""
    try:
        load_rows(settings, resolve)
    except ConfigError as error:
        return list(error.complaints)
    return []


def load_rows(settings: Settings, resolve: Resolve) -> Rows:
    """Reads, checks, converts and splits the data that `dataset_name` names.

    Args:
        settings: the sweep's settings under TRL's names, with those of `DataArguments`.
        resolve: maps a user's path to an existing local one, and returns any other name unchanged.

    Raises:
        ConfigError: the data cannot be used; carries every complaint.
    """
    notes = Notes([*formats.template_complaints(settings.get("prompt_template"))])
    notes.complaints += _size_complaints(settings.get("test_split_size"))
    if settings.get(mixtures.KEY):  # of one split, as in TRL, whatever is said of the splits of a single data set
        settings = {key: value for key, value in settings.items() if key not in _OF_ONE}
    try:
        read = mixtures.read_mixture if settings.get(mixtures.KEY) else read_source
        source = read(settings, resolve, formats.wanted(settings))
    except ConfigError as error:
        raise ConfigError([*notes.complaints, *error.complaints]) from error
    train, test = _split_names(settings, source, notes)
    found = {split: usable(source, split, settings, notes) for split in (train, test) if split}
    stop_at(notes)
    tables = {split: formats.to_trl(table, form, settings, notes) for split, (table, form) in found.items()}
    if test and tables[train].column_names != tables[test].column_names:
        notes.complaints.append(
            f"{source.name}: split {test!r} has {first_few(tables[test].column_names)}, {train!r} has "
            f"{first_few(tables[train].column_names)}. Give both the same columns."
        )
    notes.complaints += formats.loss_complaints(tables[train], settings)
    tables = {split: with_clusters(table, found[split][0], settings) for split, table in tables.items()}
    pair = (tables[train], tables[test]) if test else _draw(tables[train], settings, notes)
    stop_at(notes)
    return rows_of(*pair, notes)


def stop_at(notes: Notes) -> None:
    """Raises ConfigError with the complaints, if there are any."""
    if notes.complaints:
        raise ConfigError(list(dict.fromkeys(notes.complaints)))


# --- splits ------------------------------------------------------------------------------------------------------------


def _split_names(settings: Settings, source: Source, notes: Notes) -> tuple[str, str | None]:
    """The name of the split to train on, and of the split with the held-out rows if the source has one."""
    train, test = settings.get("dataset_train_split") or "train", settings.get("dataset_test_split") or "test"
    have = f"{source.name} has {first_few(sorted(source.splits))}"
    if train not in source.splits:
        raise ConfigError(
            [*notes.complaints, Complaint("dataset_train_split", f" {train!r} is missing: {have}. Name one of these.")]
        )
    if train == test:
        raise ConfigError(
            [
                *notes.complaints,
                Complaint("dataset_train_split", f" and --dataset_test_split are both {train!r}. Name two splits."),
            ]
        )
    if test in source.splits:
        notes.warnings += [
            f"--{key} is not used: {source.name} has its own split {test!r}."
            for key in ("test_split_size", "test_split_seed")
            if settings.get(key) is not None
        ]
        return train, test
    if test != "test":
        notes.complaints.append(
            Complaint(
                "dataset_test_split",
                f" {test!r} is missing: {have}. Name one of these, or leave it out to have rows drawn.",
            )
        )
    if source.editable and settings.get("dataset_config"):
        notes.warnings.append(f"--dataset_config {settings['dataset_config']!r} is not used: {source.name} is local.")
    return train, None


def _size_complaints(size: object) -> list[Complaint]:
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 1):
        return []
    if isinstance(size, float) and 0 < size < 1:
        return []
    return [Complaint("test_split_size", f" must be a count from 1 or a share between 0 and 1, got {size!r}.")]


def held_out_count(rows: int, size: float | int | None) -> int:
    """How many of the rows are held out: a count as given, a share rounded, by default a tenth and at most 1,000."""
    if isinstance(size, int):
        return size
    return max(1, min(DEFAULT_MOST, rows // 10)) if size is None else max(1, round(rows * size))


def _draw(table: pa.Table, settings: Settings, notes: Notes) -> tuple[pa.Table, pa.Table]:
    """Splits the rows by a seed that is no training seed; both parts keep the rows' order."""
    rows, size, seed = table.num_rows, settings.get("test_split_size"), settings.get("test_split_seed")
    count = held_out_count(rows, size)
    if count >= rows:
        asked = f" {size!r} asks" if size is not None else " is left out, which asks"
        notes.complaints.append(
            Complaint(
                "test_split_size",
                f"{asked} for {count} held-out row{'s' * (count != 1)} and the data has {rows}: none are left to train "
                "on. Give a smaller --test_split_size, or more rows.",
            )
        )
        return table, table
    chosen = sample(table, count, SPLIT_SEED if seed is None else seed)
    if len(chosen) == rows:
        notes.complaints.append(
            Complaint(
                "dataset_group",
                f": the requested {count} held-out rows take every cluster, since clusters are not split: "
                "none are left to train on. Give a smaller --test_split_size, or a column with more clusters.",
            )
        )
    return _all_but(table, chosen), _all_but(table, set(range(rows)) - set(chosen))


def _all_but(table: pa.Table, rows: Collection[int]) -> pa.Table:
    """The table without some of its rows, in order; may be empty."""
    left_out = set(rows)
    return table.filter(pa.array([row not in left_out for row in range(table.num_rows)], pa.bool_()))


# --- checks ------------------------------------------------------------------------------------------------------------


def usable(source: Source, split: str, settings: Settings, notes: Notes) -> tuple[pa.Table, str]:
    """A split's rows as one table without blank ones, and the name of their format; an empty table after a complaint."""
    columns = list(dict.fromkeys(column for part in source.splits[split] for column in part.columns))
    form = formats.form_of(columns, settings)
    none = pa.table({}), form or ""
    if seen := formats.pictures_in(columns):
        notes.complaints.append(
            f"{source.name}: rows with a column {seen[0]!r} are vision-language data, which a sweep does not train on. Leave "
            "that column out to train on the text alone, or use TRL's own script for pictures."
        )
        return none
    if columns and (form is None or (settings.get("prompt_template") and form != "instruction")):
        notes.complaints.append(_columns_complaint(source.name, columns, settings))
        return none
    parts = [part for part in source.splits[split] if part.table.num_rows]
    if form is None or not parts:
        notes.complaints.append(f"{source.name}: split {split!r} has no rows. Give it some.")
        return none
    complaints: list[Problem] = [text for part in parts for text in _part_complaints(part, form, settings)]
    complaints += [text for part in parts for text in cluster_complaints(part, settings)]
    notes.complaints += complaints
    if complaints:
        return none
    if form == "prompt/completion" and "label" in columns:
        notes.warnings.append(
            f"{source.name}: column 'label' (of unpaired preferences) is not used: completions that it rejects are trained on "
            "like the others. Leave such rows out if they are not to be learned."
        )
    kept = _without_blanks(parts, form, source, settings, notes)
    try:
        table = pa.concat_tables(nested.alike(kept), promote_options="permissive")
    except pa.ArrowException as error:
        notes.complaints.append(f"{source.name}: its files hold different types of values: {reason(error)}.")
        return none
    return table, form


def _columns_complaint(name: str, columns: Sequence[str], settings: Settings) -> str:
    head = f"{name}: no columns to train on among {first_few([repr(column) for column in columns])}. "
    if settings.get("prompt_template"):
        return head + "With prompt_template the rows need instruction and output (and may have input)."
    if other := formats.of_another_task(columns):
        return f"{head}They are {other}."
    text = settings.get("dataset_text_field") or "text"
    return head + (
        f"Rows need prompt and completion, or messages, or conversations, or {text} (dataset_text_field), "
        "or instruction and output, or input_ids."
    )


def _part_complaints(part: Part, form: str, settings: Settings) -> list[str]:
    missing = [column for column in formats.forms(settings)[form].columns if column not in part.columns]
    if missing:
        have = first_few([repr(column) for column in part.columns])
        return [f"{part.name}: no column {first_few([repr(column) for column in missing])}, it has {have}. Add it."]
    return formats.type_complaints(part, form, settings)


def _without_blanks(
    parts: Sequence[Part], form: str, source: Source, settings: Settings, notes: Notes
) -> list[pa.Table]:
    """A split's rows without blank ones, which are counted and named; too many of them are a complaint."""
    blank = [formats.blank_rows(part.table, form, settings) for part in parts]
    count, total = sum(map(len, blank)), sum(part.table.num_rows for part in parts)
    what = " or ".join(repr(column) for column in formats.forms(settings)[form].columns)
    for part, rows in zip(parts, blank, strict=True):
        if not rows:
            continue
        found = f"{part.name}: {len(rows)} of {part.table.num_rows} rows have an empty or missing {what}: "
        found += first_few([part.where(row) for row in rows])
        if count > _MOST_BLANK * total:
            fix = "Fill or remove them" if source.editable else "Give a copy without them"
            notes.complaints.append(
                f"{found}. That is more than a tenth, too many to leave out. {fix} (rows are counted from 0)."
            )
        else:
            notes.warnings.append(f"{found}. They are left out (rows are counted from 0).")
    return [_all_but(part.table, rows) if rows else part.table for part, rows in zip(parts, blank, strict=True)]


# --- result ------------------------------------------------------------------------------------------------------------


def rows_of(train: pa.Table, held_out: pa.Table, notes: Notes) -> Rows:
    """The rows of two tables in a format that TRL knows, with what they amount to."""
    from datasets import Dataset
    from datasets.table import InMemoryTable

    train, _ = split_off(train)
    held_out, clusters = split_off(held_out)
    prints = [_row_prints(table) for table in (train, held_out)]
    if again := _occurring(*prints):
        notes.warnings.append(
            f"{again} of {len(prints[1])} held-out rows also occur among the training rows, word for word: held-out loss looks "
            "better than it is. Remove duplicates from the data."
        )
    named = [] if clusters.null_count == len(clusters) else [json.dumps(clusters.to_pylist()).encode()]
    content = hashlib.sha256(b"".join([*prints[0], b"held out", *prints[1], *named])).hexdigest()
    pair = [
        Dataset(InMemoryTable(table.combine_chunks()), fingerprint=f"{content[:16]}{end}")
        for table, end in ((train, "t"), (held_out, "h"))
    ]
    return Rows(pair[0], pair[1], content[:32], tuple(notes.warnings), clusters)


def trained_on(held_out: Any, train: Any) -> int:
    """How many rows of one `datasets.Dataset` also occur in the other, word for word."""
    return _occurring(*(_row_prints(data.data.table) for data in (train, held_out)))


def _occurring(train: Sequence[bytes], held_out: Sequence[bytes]) -> int:
    known = set(train)
    return sum(row in known for row in held_out)


def _row_prints(table: pa.Table) -> list[bytes]:
    """A hash of each row's content, independent of its Arrow types and chunks."""
    return [
        hashlib.blake2b(
            json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"),
            digest_size=16,
        ).digest()
        for batch in table.to_batches(max_chunksize=1_000)
        for row in nested.rows(batch)
    ]
