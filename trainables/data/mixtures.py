"""`datasets`: a mixture of data sets, which TRL's DatasetMixtureConfig describes, read and put together as `trl sft` does.

    datasets:
      - path: owner/name        # of the Hub, a local file or folder, or a builder's name (json, csv, parquet) with data_files
        name: small             # its configuration
        split: train[:1000]
        columns: [messages]
        fraction: 0.25          # of the mixture; for all of them or for none

Their rows follow each other in this order. `test_split_size` of them are held out, as of any data set.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.common.formatting import first_few, listed, sentence
from sweep.common.names import Resolve, exists_locally
from sweep.common.quiet import quiet
from sweep.config.coercion import as_text
from sweep.errors import Complaint, ConfigError
from trainables.data.files import SUFFIXES, Part, read_file
from trainables.data.sources import Settings, Source, hub_complaint, part_of

KEY = "datasets"
_WORDS = "the mixture"
_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "path": str,
    "name": str,
    "data_dir": str,
    "data_files": (str, list, dict),
    "split": str,
    "columns": list,
    "fraction": (int, float),
}


def read_mixture(settings: Settings, resolve: Resolve, wanted: Collection[str]) -> Source:
    """Reads the data sets of a mixture; of each, only the wanted columns.

    Raises:
        ConfigError: it is not a mixture, or one of them cannot be read; names every problem found.
    """
    entries = settings[KEY]
    wrong = [*_complaints(entries)]
    if settings.get("dataset_name"):
        wrong.append(Complaint(KEY, " and dataset_name are both given. Leave one of the two out."))
    parts: list[Part] = []
    for entry in entries if not wrong else ():
        try:
            parts.append(_read(entry, resolve, wanted))
        except ConfigError as error:
            wrong += [one for one in error.complaints if isinstance(one, Complaint)] or [
                Complaint(KEY, f": {one}") for one in error.complaints
            ]
    if wrong:
        raise ConfigError(wrong)
    return Source(_WORDS, {"train": _in_shares(parts, [entry.get("fraction") for entry in entries])}, False)


def names(settings: Settings) -> list[str]:
    """What the data sets of a mixture are called: each path, with the other keys that were given."""
    entries = settings.get(KEY)
    return [_name(entry) for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def hub_names(settings: Settings) -> list[str]:
    """The paths of a mixture's data sets, without the names of what reads `data_files`."""
    entries = settings.get(KEY)
    given = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    found = [entry.get("path") for entry in given if not _names_a_builder(entry)]
    return [path for path in found if isinstance(path, str)]


def _names_a_builder(entry: Mapping[str, Any]) -> bool:
    """Whether the path is what reads `data_files`: json, also where there is a folder of that name."""
    return bool(entry.get("data_files")) and "/" not in str(entry.get("path"))


def _name(entry: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key}={as_text(value)}" for key, value in sorted(entry.items()) if key != "path")
    return f"{entry.get('path')}" + (f" ({rest})" if rest else "")


# --- checks ------------------------------------------------------------------------------------------------------------


def _complaints(entries: Any) -> Iterator[Complaint]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        yield Complaint(KEY, f": expected a list of mappings such as {{path: owner/name}}, got {as_text(entries)}.")
        return
    for entry in entries:
        yield from _of_one(entry)
    given = [entry.get("fraction") for entry in entries]
    if any(one is not None for one in given) and any(one is None for one in given):
        yield Complaint(KEY, ": fraction stands with some of them only. Give it for all, or for none.")
    elif given and all(one == 0 for one in given):
        yield Complaint(KEY, ": every fraction is 0. Give one of them more.")


def _of_one(entry: Mapping[str, Any]) -> Iterator[Complaint]:
    where = f", {entry['path']}" if isinstance(entry.get("path"), str) else ""
    odd = [str(key) for key in entry if key not in _KEYS]
    if odd:
        known = listed(tuple(_KEYS), "and")
        yield Complaint(KEY, f"{where}: unrecognized {first_few(odd)}. A data set of a mixture has {known}.")
    if not entry.get("path"):
        yield Complaint(
            KEY, f": path is missing from {as_text(dict(entry))}. Name a data set of the Hub, or a local one."
        )
    for key, kind in _KEYS.items():
        value = entry.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            words = {"columns": "a list of names", "fraction": "a number"}.get(key, "text")
            yield Complaint(KEY, f"{where}: {key} must be {words}, got {as_text(value)}.")
    share = entry.get("fraction")
    if isinstance(share, int | float) and not 0 <= share < math.inf:
        yield Complaint(KEY, f"{where}: fraction must be at least 0, got {share:g}.")


# --- reading -----------------------------------------------------------------------------------------------------------


def _read(entry: Mapping[str, Any], resolve: Resolve, wanted: Collection[str]) -> Part:
    path = Path(entry["path"] if _names_a_builder(entry) else resolve(entry["path"]))
    alone = not {key for key in ("name", "data_dir", "data_files", "split") if entry.get(key) not in (None, "train")}
    if path.suffix.lower() in SUFFIXES and exists_locally(str(path)) and path.is_file() and alone:
        part = read_file(path, wanted)
    else:
        part = part_of(_name(entry), _loaded(entry, str(path)), wanted)
    part = _with_columns(part, entry.get("columns"), entry)
    if not part.table.num_columns:
        have = first_few([repr(column) for column in part.columns])
        raise ConfigError([Complaint(KEY, f", {entry['path']}: no columns to train on among {have}. Leave it out.")])
    return part


def _loaded(entry: Mapping[str, Any], path: str) -> Any:
    """The data set as `datasets.load_dataset` gives it, with the arguments that TRL gives."""
    from datasets import load_dataset

    given = {key: entry.get(key) for key in ("name", "data_dir", "data_files")}
    with quiet():
        try:
            return load_dataset(path, **given, split=entry.get("split") or "train")
        except Exception as error:  # the Hub's client has no common base class
            if given["data_files"] or exists_locally(path):
                text = f", {entry['path']}: cannot be read: {sentence(error, 300)} Correct its entry."
                raise ConfigError([Complaint(KEY, text)]) from error
            raise ConfigError([hub_complaint(KEY, entry["path"], entry.get("name"), error)]) from error


def _with_columns(part: Part, columns: Sequence[str] | None, entry: Mapping[str, Any]) -> Part:
    if columns is None:
        return part
    if missing := [column for column in columns if column not in part.columns]:
        have = first_few([repr(column) for column in part.columns])
        text = f", {entry['path']}: there is no column {first_few(list(map(repr, missing)))}, it has {have}."
        raise ConfigError([Complaint(KEY, f"{text} Correct its columns.")])
    kept = [column for column in part.table.column_names if column in columns]
    return Part(part.name, part.table.select(kept), tuple(columns), part.lines)


def _in_shares(parts: Sequence[Part], fractions: Sequence[float | None]) -> list[Part]:
    """The first rows of each, so many that the shares are as asked and no data set is used up twice; all without shares."""
    if any(one is None for one in fractions):
        return list(parts)
    whole = math.fsum(one for one in fractions if one is not None)
    shares = [(one or 0.0) / whole for one in fractions]
    total = min(part.table.num_rows / share for part, share in zip(parts, shares, strict=True) if share > 0)
    return [_head(part, round(share * total)) for part, share in zip(parts, shares, strict=True)]


def _head(part: Part, rows: int) -> Part:
    lines = None if part.lines is None else part.lines[:rows]
    return Part(part.name, part.table.slice(0, rows), part.columns, lines)
