"""Reads a data set into Arrow tables: from the Hub, a file, a folder of files, or a `save_to_disk` folder.

Its rows end up in memory: nothing is written next to the user's files.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep.common.formatting import headline, listed, reason
from sweep.common.names import Resolve, exists_locally
from sweep.common.quiet import quiet
from sweep.errors import Complaint, ConfigError, Problem
from trainables.data.files import SUFFIXES, Part, plain, read_file

Settings = Mapping[str, Any]

OFFLINE_WAYS = (
    "give --dataset_name a local file or folder, fill the cache beforehand on a machine with access "
    "(HF_HUB_CACHE and HF_DATASETS_CACHE name the folders), or set HF_ENDPOINT to a mirror that this machine reaches"
)
_MOST_ENTRIES = 100_000  # in a folder that is searched, a second's work; the root of a disk has millions
_OTHER_SPLITS = {"validation", "valid", "val", "dev", "eval", "test"}


@dataclass(frozen=True)
class Source:
    """A data set's splits. `editable`: the user can fix its rows, since it is not from the Hub."""

    name: str
    splits: dict[str, list[Part]]
    editable: bool


def read_source(settings: Settings, resolve: Resolve, wanted: Collection[str]) -> Source:
    """Reads the data set that `dataset_name` names; of each split, only the wanted columns.

    Raises:
        ConfigError: it is missing, unreadable or not what its suffix says; names every problem found.
    """
    name = settings.get("dataset_name")
    if not isinstance(name, str) or not name:
        raise ConfigError(
            ["no data set: got dataset_name " + repr(name) + ". Give --dataset_name a file or a Hub name."]
        )
    path = Path(resolve(name))
    there = exists_locally(str(path))
    train, test = settings.get("dataset_train_split") or "train", settings.get("dataset_test_split") or "test"
    if there and path.is_file():
        return Source(name, {train: [read_file(path, wanted)]}, True)
    if there and path.is_dir():
        saved = (path / "dataset_dict.json").exists() or (path / "state.json").exists()
        splits = _read_saved(path, train, wanted) if saved else _read_folder(path, train, test, wanted)
        return Source(name, splits, True)
    if looks_like_a_path(name):
        raise ConfigError([Complaint("dataset_name", f": there is no file or folder {name!r}. Correct the path.")])
    return Source(name, _read_hub(name, settings.get("dataset_config"), wanted), False)


def looks_like_a_path(name: str) -> bool:
    """Whether a name that does not exist can only have been meant as a file or folder."""
    path_like = name.startswith((".", "/", "~")) or name.count("/") > 1 or len(name) > 200
    return path_like or Path(name).suffix.lower() in SUFFIXES


def _read_folder(folder: Path, train: str, test: str, wanted: Collection[str]) -> dict[str, list[Part]]:
    """Files below a folder, each in the split that its path names as a word (`test-00000.parquet`), otherwise in `train`."""
    files = _files_below(folder)
    if not files:
        raise ConfigError(
            [
                Complaint(
                    "dataset_name",
                    f": {folder} holds no {listed(SUFFIXES, 'or')} file. Put the rows there as one of these.",
                )
            ]
        )
    splits: dict[str, list[Part]] = {}
    complaints: list[Problem] = []
    for path in files:
        words = set(re.split(r"[^a-z0-9]+", str(path.relative_to(folder)).lower()))
        named = [split for split in (train, test, *sorted(_OTHER_SPLITS)) if split.lower() in words]
        try:
            splits.setdefault(named[0] if named else train, []).append(read_file(path, wanted))
        except ConfigError as error:
            complaints += error.complaints
    if complaints:
        raise ConfigError(complaints)
    return splits


def _files_below(folder: Path) -> list[Path]:
    """Data files below a folder, without hidden ones. A folder that cannot be searched fully is refused, not read in part."""
    fix = "Name the folder with the rows."

    def refuse(error: OSError) -> None:
        where = f"{error.filename} cannot be read: {reason(error)}"
        raise ConfigError([Complaint("dataset_name", f": {folder} cannot be searched: {where}. {fix}")]) from error

    found: list[Path] = []
    entries = 0
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        entries += len(folders) + len(names)
        if entries > _MOST_ENTRIES:
            raise ConfigError(
                [Complaint("dataset_name", f": {folder} holds more than {_MOST_ENTRIES:,} files and folders. {fix}")]
            )
        found += [Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    return sorted(found)


def _read_saved(folder: Path, train: str, wanted: Collection[str]) -> dict[str, list[Part]]:
    from datasets import Dataset, load_from_disk

    try:
        saved = load_from_disk(str(folder))
        splits = {train: saved} if isinstance(saved, Dataset) else dict(saved)
        return {split: [part_of(f"{folder} ({split})", data, wanted)] for split, data in splits.items()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ConfigError(
            [
                Complaint(
                    "dataset_name",
                    f": {folder} looks like a save_to_disk folder and cannot be read: {headline(error)}. Save it again.",
                )
            ]
        ) from error


def _read_hub(name: str, config: str | None, wanted: Collection[str]) -> dict[str, list[Part]]:
    from datasets import load_dataset

    with quiet():
        try:
            splits = dict(load_dataset(name, config))
        except Exception as error:  # the Hub's client has no common base class
            raise ConfigError([hub_complaint("dataset_name", name, config, error)]) from error
    return {split: [part_of(f"{name} ({split})", data, wanted)] for split, data in splits.items()}


def hub_complaint(key: str, name: str, config: str | None, error: Exception) -> Complaint:
    """Why a data set that the setting `key` names, and that is no local file, cannot be had."""
    which = f"{name!r}" + (f" (configuration {config!r})" if config else "")
    unreachable = isinstance(error, ConnectionError | TimeoutError) or "offline" in str(error).lower()
    head = f": {which} is no local file or folder, and the Hub's data set cannot be "
    if unreachable:
        text = f"{head}reached or found in the cache: {headline(error)}. Ways out: {OFFLINE_WAYS}."
    else:
        text = f"{head}loaded: {headline(error)}. Check the name and the configuration; a gated set needs HF_TOKEN."
    return Complaint(key, text)


def part_of(name: str, data: Any, wanted: Collection[str]) -> Part:
    """A `datasets.Dataset` as a Part; keeps the order of its rows if it was shuffled or selected from."""
    columns = tuple(data.column_names)
    chosen = [column for column in columns if column in wanted]
    table = data.select_columns(chosen).with_format("arrow")[:] if chosen and len(data) else pa.table({})
    return Part(name, plain(table), columns)
