"""The settings of a sweep: presets, a YAML file and flags, put together, and every complaint about them at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from sweep import redact
from sweep.common import reading
from sweep.config import fields, flags
from sweep.contract.loading import load_trainable
from sweep.contract.trainable import Trainable
from sweep.errors import ConfigError
from sweep.space import FULL, AlphaRule, Rank, Trial, is_lora_setting, trials

DEMO, REPORT = "demo", "opt-350m-codealpaca"
Layer = tuple[str, Mapping[str, Any]]  # where some raw settings come from, and the settings


@dataclass(frozen=True)
class SweepConfig:
    """A sweep, checked: what the flags say, and `settings`, the trainer's, that every trial starts from."""

    name: str
    lora_r: tuple[Rank, ...]
    seeds: tuple[int, ...]
    grid: Mapping[str, tuple[Any, ...]]
    settings: Mapping[str, Any]
    lora_alpha_rule: AlphaRule = "fixed"
    preset: str | None = None
    storage_path: str = "results"
    gpus_per_trial: float | None = None
    cpus_per_trial: float = 1.0
    max_concurrent_trials: int | None = None
    on_oom: str = "record"
    scheduler: str = "fifo"
    asha_grace_period: int = 10
    asha_reduction_factor: float = 3.0
    asha_brackets: int = 1
    asha_max_t: int | None = None
    max_failures: int = 2
    storage_patience_s: float = 120.0
    address: str | None = None
    trainable: str = "trainables.sft:SFT"
    margin: float = 0.005
    dry_run: bool = False
    verbose: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """Folder or URI of this sweep."""
        return f"{self.storage_path.rstrip('/')}/{self.name}"

    @property
    def where(self) -> dict[str, str]:
        """Each setting's name as the user wrote it."""
        named = {key: _where(source, key) for key, source in self.sources.items()}
        return {**named, **{key: named[f"grid {key}"] for key in self.grid}}

    def as_written(self, complaint: str) -> str:
        """The complaint about a setting under the name that the user wrote: that of a YAML file's key is no flag's."""
        named = re.match(r"--(\w+)", complaint)
        return self.where.get(named.group(1), named.group()) + complaint[named.end() :] if named else complaint

    def trials(self) -> list[Trial]:
        return trials(self.settings, self.lora_r, self.seeds, self.grid, self.lora_alpha_rule)


def preset_names() -> list[str]:
    folder = resources.files("sweep.config.presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def resolve(argv: Sequence[str], cuda: bool) -> tuple[SweepConfig | None, list[str]]:
    """The configuration that a command line means, and all that is wrong with it; None if it has no flags to read.

    A flag beats the YAML file, the YAML file beats the preset. Without a preset, model or data set of the user's, the preset
    is the report's experiment on a machine with CUDA and the demo on any other.
    """
    try:
        given = flags.parse(argv)
    except ConfigError as error:
        return None, list(error.complaints)
    complaints: list[str] = []
    layers = _layers(given, cuda, complaints)
    try:
        read = _Reader(complaints, _trainable(layers))
    except ConfigError as error:
        return None, [*complaints, *error.complaints]
    for source, raw in layers:
        read.layer(source, raw)
    return read.config(), complaints


def verbose(argv: Sequence[str]) -> bool:
    """Whether output is to be verbose: known before any library is imported that reads at its import how much to print."""
    try:
        given = flags.parse(argv)
        path = given.get("config")
        from_file, _ = reading.settings(path) if path is not None else ({}, [])
        return bool(fields.coerce(given.get("verbose", from_file.get("verbose", False)), bool))
    except (ConfigError, ValueError):
        return False  # said with all that is wrong


def _layers(given: dict[str, Any], cuda: bool, complaints: list[str]) -> list[Layer]:
    path = given.pop("config", None)
    from_file, wrong = reading.settings(path) if path is not None else ({}, [])
    complaints += wrong
    explicit = given.get("preset", from_file.get("preset"))
    named = {**from_file, **given}
    own = "model_name_or_path" in named or "dataset_name" in named or "trainable" in named
    preset = explicit or (None if own else REPORT if cuda else DEMO)
    layers: list[Layer] = []
    if fields.unset(preset):
        pass
    elif preset is not None and preset not in preset_names():
        where = _where("flag" if "preset" in given else str(path), "preset")
        got = "no value" if preset is True else fields.shown(preset)
        complaints.append(
            f"{where}: expected one of {', '.join(preset_names())}, got {got}.{fields.nearest(str(preset), preset_names())}"
        )
        given.pop("preset", None)
        from_file.pop("preset", None)
    elif preset is not None:
        layers.append((f"preset {preset}", {**reading.parse(_preset(preset)), "preset": preset}))
    return [*layers, (str(path), from_file), ("flag", given)]


def _trainable(layers: Sequence[Layer]) -> type[Trainable]:
    """What declares the settings."""
    name = next((raw["trainable"] for _, raw in reversed(layers) if "trainable" in raw), _OWN["trainable"].default)
    try:
        return load_trainable(str(name))
    except ConfigError:
        return Trainable  # said when one is needed


def _preset(name: str) -> str:
    return resources.files("sweep.config.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


class _Reader:
    """Reads layers of raw settings, later ones over earlier ones, and gathers complaints."""

    def __init__(self, complaints: list[str], kind: type[Trainable]) -> None:
        self.complaints = complaints
        self.kind, self.known = kind, fields.settings_of(kind)
        self.own: dict[str, Any] = {flag.name: flag.default for flag in flags.FLAGS}
        self.settings: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def layer(self, source: str, raw: Mapping[str, Any]) -> None:
        for key, value in raw.items():
            if key == "grid":
                self._grid(source, value)
            elif key in _OWN:
                self._own(source, key, value)
            else:
                self._setting(source, key, value)

    def _own(self, source: str, key: str, value: Any) -> None:
        flag = _OWN[key]
        many = flag.hint == list[str]
        try:
            self.own[key] = (
                tuple(value if isinstance(value, list) else [value]) if many else fields.coerce(value, flag.hint)
            )
            self.sources[key] = source
        except ValueError as error:
            self._wrong(source, key, value, str(error))

    def _setting(self, source: str, key: str, value: Any) -> None:
        negated = key.removeprefix("no_")
        known = self.known
        if value is True and key not in known and negated in known and fields.takes_truth(known[negated].hint):
            key, value = negated, False
        if key in fields.TAKEN:
            self.complaints.append(f"{_where(source, key)}: not to be set here: {fields.TAKEN[key]}.")
        elif key not in known:
            self.complaints.append(
                f"{_where(source, key)}: there is no such setting.{fields.nearest(key, [*known, *_OWN])}"
            )
        else:
            self.sources[key] = source  # also where the value is wrong: it is this one that the complaint is about
            try:
                self.settings[key] = known[key].read(value)
            except ValueError as error:
                self._wrong(source, key, value, str(error))

    def _grid(self, source: str, value: Any) -> None:
        axes = _axes_of_flags(value, self.complaints) if source == "flag" else value
        if not isinstance(axes, dict):
            self._wrong(source, "grid", value, "a mapping of lists, as in {learning_rate: [1e-4, 2e-4]}")
            return
        grid = dict(self.own["grid"])
        for key, values in axes.items():
            checked = self._axis(source, str(key), values)
            if checked is not None:
                grid[key] = checked
                self.sources[f"grid {key}"] = source
        self.own["grid"] = grid

    def _axis(self, source: str, key: str, values: Any) -> tuple[Any, ...] | None:
        where, known = _where(source, f"grid {key}"), self.known
        if key in ("lora_r", "seed", "seeds"):
            self.complaints.append(f"{where}: ranks and seeds have flags of their own: --lora_r, --seeds.")
        elif key in fields.TAKEN or key not in known:
            why = fields.TAKEN.get(key, f"there is no such setting.{fields.nearest(key, known)}")
            self.complaints.append(f"{where}: cannot be an axis: {why.rstrip('.?')}{'?' if why.endswith('?') else '.'}")
        elif redact.is_secret(key):
            self.complaints.append(f"{where}: cannot be an axis: it is a secret, which results do not hold.")
        elif not isinstance(values, list):
            self._wrong(source, f"grid {key}", values, "a list of values")
        elif not values:
            self.complaints.append(f"{where}: the axis is empty. Give at least one value, as in --grid {key}=V1,V2.")
        else:
            return self._axis_values(where, values, known[key])
        return None

    def _axis_values(self, where: str, values: list[Any], field: fields.Field) -> tuple[Any, ...] | None:
        try:
            coerced = [field.read(value) for value in values]
        except ValueError as error:
            self.complaints.append(
                f"{where}: expected {error} for each value, got {', '.join(map(fields.shown, values))}."
            )
            return None
        twice = [value for i, value in enumerate(coerced) if value in coerced[:i]]
        if twice:
            self.complaints.append(f"{where}: {fields.shown(twice[0])} is there twice. Name each value once.")
            return None
        return tuple(coerced)

    def _wrong(self, source: str, key: str, value: Any, expected: str) -> None:
        got = "no value" if source == "flag" and value is True else fields.shown(value)
        self.complaints.append(f"{_where(source, key)}: expected {expected}, got {got}.")

    def config(self) -> SweepConfig:
        """The configuration, its values' own rules checked; with complaints it is good for finding further ones only."""
        from sweep.config.checks import check_values

        ranks, seeds = check_values(self.own, self.settings, self.sources, self.complaints, self.kind.REQUIRED)
        own = {key: value for key, value in self.own.items() if key not in ("lora_r", "seeds", "name", "config")}
        name = self.own["name"] or self.own["preset"] or _slug(self.settings)
        return SweepConfig(
            name=name, lora_r=ranks or (1,), seeds=seeds or (0,), settings=self.settings, sources=self.sources, **own
        )


_OWN = {flag.name: flag for flag in flags.FLAGS}


def _where(source: str, key: str) -> str:
    shown = key if key.isprintable() and key == key.strip() and key else repr(key)
    return f"--{shown}" if source in ("flag", "default") else f"{shown} (in {source})"


def _axes_of_flags(words: list[str], complaints: list[str]) -> dict[str, list[Any]]:
    """`KEY=V1,V2` words as axes; a value that begins with [ is read as a YAML list, for settings that are lists."""
    axes: dict[str, list[Any]] = {}
    if not words:
        complaints.append("--grid: the axis is missing. Give KEY=V1,V2, as in --grid learning_rate=1e-4,2e-4.")
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            complaints.append(f"--grid {word}: expected KEY=V1,V2, as in --grid learning_rate=1e-4,2e-4.")
        elif key in axes:
            complaints.append(
                f"--grid {key}: the axis is named twice. Give all its values at once: --grid {key}=V1,V2."
            )
        else:
            axes[key] = _values(text)
    return axes


def _values(text: str) -> list[Any]:
    if text.startswith("["):
        try:
            return list(reading.parse(text))
        except (ValueError, TypeError):
            pass
    return [value.strip() for value in text.split(",") if value.strip()]


def _slug(settings: Mapping[str, Any]) -> str:
    """A name for a sweep that has none: model and data set, without their folders and endings."""
    parts = [
        re.sub(r"\.\w+$", "", str(settings.get(key) or "").rstrip("/").rsplit("/", 1)[-1])
        for key in ("model_name_or_path", "dataset_name")
    ]
    return re.sub(r"[^\w.-]+", "-", "-".join(part for part in parts if part)).strip("-") or "sweep"


__all__ = ["DEMO", "FULL", "REPORT", "SweepConfig", "is_lora_setting", "preset_names", "resolve"]
