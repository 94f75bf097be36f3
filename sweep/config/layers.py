"""Combines presets, a YAML file and flags into one configuration, and reports every complaint about them at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from sweep.common import reading
from sweep.common.formatting import reason, sentence
from sweep.config import command_line, trl, tuning, values
from sweep.config.coercion import as_text, coerce, unset
from sweep.config.fields import nearest, settings_of
from sweep.config.reader import Reader
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract.loading import load_trainable
from sweep.contract.trainable import Trainable
from sweep.errors import Complaint, ConfigError, Problem

DEMO, REPORT = "demo", "opt-350m-codealpaca"
_ROWS = ("dataset_name", "datasets")
Layer: TypeAlias = tuple[str, Mapping[str, Any]]  # the source of some raw settings, and the settings


def resolve(argv: Sequence[str], cuda: bool) -> tuple[SweepConfig | None, list[Problem]]:
    """The configuration that a command line means, and everything that is wrong with it; None if it cannot be parsed.

    A flag overrides the YAML file, which overrides the preset. If the user names no preset, model or data set, the preset is
    the report's experiment on a machine with CUDA and the demo on any other.
    """
    try:
        given = command_line.parse(argv)
    except ConfigError as error:
        return None, list(error.complaints)
    problems: list[Problem] = []
    from_file = _file(given, problems)
    layers = _layers(given, from_file, cuda, problems)
    kind = _trainable(layers)
    try:
        reader = Reader(settings_of(kind), problems)
    except ConfigError as error:
        return None, [*problems, *error.complaints]
    reader.sources |= from_file.sources
    for source, raw in layers:
        reader.layer(source, raw)
    config = _config(reader, from_file.notes, problems)
    config = tuning.with_ladders(config, reader.known, values.RANGES, problems)
    return config, problems + values.of_flags(config, kind.REQUIRED)


def _config(reader: Reader, notes: Sequence[str], problems: list[Problem]) -> SweepConfig:
    """The configuration; if a value is refused, one that only serves to find further mistakes."""
    own = {name: values.usable(FLAGS[name], value, problems) for name, value in reader.own.items()}
    if own["name"] is None:
        own["name"] = own["preset"] or _slug(reader.settings)
    return SweepConfig(**own, settings=reader.settings, sources=reader.sources, notes=tuple(notes))


def verbose(argv: Sequence[str]) -> bool:
    """Whether output is to be verbose: needed before importing libraries that read their verbosity at import."""
    try:
        given, from_file = _raw(argv)
        return bool(coerce(given.get("verbose", from_file.get("verbose", False)), bool))
    except (ConfigError, ValueError):
        return False  # reported later, with everything that is wrong


def set_environment(argv: Sequence[str]) -> None:
    """Sets the variables of the file's `env`, as TRL does: needed before importing libraries that read them at import."""
    try:
        trl.set_environment(trl.environment(_raw(argv)[1]))
    except (ConfigError, ValueError):
        return  # reported later


def _raw(argv: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the command line, and those of the file that it names, as they stand there.

    Raises:
        ConfigError: the command line cannot be parsed.
    """
    given = command_line.parse(argv)
    path = given.get("config")
    return given, read_file(path)[0] if path is not None else {}


def preset_names() -> list[str]:
    folder = resources.files("sweep.config.presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _preset(name: str) -> dict[str, Any]:
    text = resources.files("sweep.config.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return {**reading.parse(text), "preset": name}


@dataclass(frozen=True)
class _File:
    """What a YAML file says: its settings under a sweep's names, notes on those not used, and sources of what is no setting."""

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


def _file(given: dict[str, Any], problems: list[Problem]) -> _File:
    path = given.get("config")
    if path is None:
        return _File()
    raw, wrong = read_file(path)
    problems += wrong
    if wrong:
        del given["config"]
        return _File(str(path))
    try:
        trl.environment(raw)
    except ValueError as error:
        problems.append(Complaint(trl.ENV, f": expected {error}.", path))
        raw = {key: value for key, value in raw.items() if key != trl.ENV}
    settings, notes = trl.translated(raw, path)
    said = {trl.ENV: bool(raw.get(trl.ENV)), "use_peft": trl.says_full(raw)}
    return _File(path, settings, notes, {key: path for key, value in said.items() if value})


def _layers(given: dict[str, Any], from_file: _File, cuda: bool, problems: list[Problem]) -> list[Layer]:
    explicit = given.get("preset", from_file.settings.get("preset"))
    named = {**from_file.settings, **given}
    own = not named.keys().isdisjoint({"model_name_or_path", "trainable", *_ROWS})
    preset = explicit or (None if own else REPORT if cuda else DEMO)
    rest: list[Layer] = [(from_file.name, from_file.settings), ("flag", given)]
    if preset is None or unset(preset):
        return _with_rows_of_one(rest)
    if preset in preset_names():
        return _with_rows_of_one([(f"preset {preset}", _preset(preset)), *rest])
    got = "no value" if preset is True else as_text(preset)
    text = f": expected one of {', '.join(preset_names())}, got {got}.{nearest(str(preset), preset_names())}"
    problems.append(Complaint("preset", text, "flag" if "preset" in given else from_file.name))
    return [(source, {key: value for key, value in raw.items() if key != "preset"}) for source, raw in rest]


def _with_rows_of_one(layers: Sequence[Layer]) -> list[Layer]:
    """A data set named in a later layer replaces a mixture of an earlier one, and the other way round."""
    named = [key for _, raw in layers for key in _ROWS if raw.get(key) and not unset(raw[key])]
    replaced = set(_ROWS) - set(named[-1:]) if named else set()
    return [(source, {key: value for key, value in raw.items() if key not in replaced}) for source, raw in layers]


def read_file(path: Any) -> tuple[dict[str, Any], list[Complaint]]:
    """The settings in a YAML file, and what is wrong with it."""
    if not isinstance(path, str) or not path:
        got = "no value" if path is True else repr(path)
        return {}, [Complaint("config", f": expected one YAML file, got {got}.", "flag")]
    try:
        content = reading.parse(Path(path).expanduser().read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        wrong = f" is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}. Convert it."
    except (OSError, RuntimeError) as error:
        wrong = f" cannot be read: {reason(error)}. Give a YAML file."
    except ValueError as error:
        wrong = f" is not YAML that can be used: {sentence(error)}"
    else:
        wrong = _no_settings(content)
        if not wrong and content and "config" in content:
            text = ": a file cannot name another one. Put all settings into one file."
            return {}, [Complaint("config", text, path)]
    return (content or {}, []) if not wrong else ({}, [Complaint("config", f" {path}{wrong}", "flag")])


def _no_settings(content: Any) -> str:
    """Why the content of a YAML file is not settings; "" if it is, or if it is empty."""
    fix = "Write KEY: VALUE lines, with the flags' names as keys."
    if content is not None and not isinstance(content, dict):
        return f" holds {'a list' if isinstance(content, list) else 'a single value'}, not settings. {fix}"
    odd = [key for key in content or {} if not isinstance(key, str)]
    return f": {odd[0]!r} is not the name of a setting. {fix}" if odd else ""


def _trainable(layers: Sequence[Layer]) -> type[Trainable]:
    """The trainable class that declares the settings."""
    named = [raw["trainable"] for _, raw in layers if "trainable" in raw]
    try:
        return load_trainable(str([FLAGS["trainable"].default, *named][-1]))
    except ConfigError:
        return Trainable  # reported later, when one is needed


def _slug(settings: Mapping[str, Any]) -> str:
    """A name for a sweep that has none: model and data sets, without folders and suffixes."""
    mixed = [one["path"] for one in settings.get("datasets") or () if isinstance(one, Mapping) and "path" in one]
    names = [settings.get("model_name_or_path"), settings.get("dataset_name"), *mixed]
    parts = [re.sub(r"\.(jsonl?|csv|parquet)$", "", str(name or "").rstrip("/").rsplit("/", 1)[-1]) for name in names]
    name = re.sub(r"[^\w.-]+", "-", "-".join(part for part in parts if part))[:100]
    return name.strip("-") or "sweep"
