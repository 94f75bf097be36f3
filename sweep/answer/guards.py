"""Finds what differs between the compared trials besides rank and seed."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.answer.answer import DifferenceInSettings, DifferenceKind
from sweep.answer.groups import RATE, Group, method_of, parsed, text_of
from sweep.space import ignored_in_trial_id, is_lora_setting
from sweep.store.store import Row

_BATCH = (("per_device_train_batch_size", 8), ("gradient_accumulation_steps", 1))  # with the trainer's defaults
_LENGTH = ("max_steps", "num_train_epochs", *(key for key, _ in _BATCH))
_MODEL = ("model_name_or_path", "model_revision")
_DATA = (
    *("dataset_name", "dataset_config", "dataset_train_split", "dataset_test_split", "dataset_text_field"),
    *("datasets", "test_split_size", "test_split_seed", "prompt_template"),
)
_OWN_GUARD = {"seed", "lora_r", "lora_alpha"}  # varied by design; the scale has a guard of its own


@dataclass(frozen=True)
class Guard:
    """One thing that should be the same.

    Attributes:
        value: returns a trial's value; None if it does not apply or was not recorded.
        sources: settings that determine it: if one of them is an axis of the grid, the difference is intended.
        by_seed: whether to compare only trials of the same seed, since another seed's data order may change it.
        remark, as_axis: the explanation of a confound, and of an intended difference.
    """

    name: str
    value: Callable[[Row], Any]
    kind: DifferenceKind = "confound"
    sources: tuple[str, ...] = ()
    by_seed: bool = False
    remark: str = ""
    as_axis: str = "varied on purpose"


def differences(
    groups: Sequence[Group], axes: Sequence[str], tuned: str | None = None
) -> tuple[DifferenceInSettings, ...]:
    """All differences between the completed trials, beginning with those that may have changed the losses.

    Args:
        axes: what the grid varies on purpose.
        tuned: the setting that was tuned for each rank.
    """
    trials = [(one.label, row) for one in groups for row in one.completed]
    guards = [*_setting_guards(trials), _scale_guard(tuned), *_GUARDS, *_versions(trials)]
    found = [_difference(guard, trials, set(axes)) for guard in guards]
    rank = {"confound": 0, "cost": 1, "axis": 2, "neutral": 3}
    return tuple(sorted((one for one in found if one), key=lambda one: rank[one.kind]))


def _difference(guard: Guard, trials: Sequence[tuple[str, Row]], axes: set[str]) -> DifferenceInSettings | None:
    met: dict[Any, dict[str, list[str]]] = {}
    for label, row in trials:
        value = guard.value(row)
        if value is not None:
            by_value = met.setdefault(row.get("seed") if guard.by_seed else None, {})
            by_value.setdefault(text_of(value), []).append(label)
    values: dict[str, list[str]] = {}
    for by_value in met.values():
        if len(by_value) > 1:
            for text, labels in by_value.items():
                values.setdefault(text, []).extend(labels)
    if not values:
        return None
    kept = {text: tuple(dict.fromkeys(labels)) for text, labels in values.items()}
    kind: DifferenceKind = "axis" if axes & {guard.name, *guard.sources} else guard.kind
    return DifferenceInSettings(guard.name, kept, kind, _text(guard, kept, kind))


def _text(guard: Guard, values: dict[str, tuple[str, ...]], kind: str) -> str:
    shown = [f"{value} ({_few(labels)})" for value, labels in list(values.items())[:6]]
    more = f" and {len(values) - 6} further values" if len(values) > 6 else ""
    why = {
        "axis": guard.as_axis,
        "confound": guard.remark or "the comparison reflects this as well as the rank",
        "cost": "it may change time and memory",
        "neutral": "it was measured to change nothing",
    }[kind]
    return f"{guard.name} differs: {'; '.join(shown)}{more}. {why[0].upper()}{why[1:]}."


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} configurations"


def _setting_guards(trials: Iterable[tuple[str, Row]]) -> list[Guard]:
    keys = dict.fromkeys(key for _, row in trials for key in parsed(row, "settings"))
    return [Guard(key, _setting(key)) for key in keys if key not in _OWN_GUARD]


def _setting(key: str) -> Callable[[Row], Any]:
    def value(row: Row) -> Any:
        if not row.get("settings") or (is_lora_setting(key) and method_of(row) == "full"):
            return None
        settings = parsed(row, "settings")
        found = settings.get(key)
        return None if key in ignored_in_trial_id(settings) else "default" if found is None else found

    return value


def _effective_batch(row: Row) -> int | None:
    if not row.get("settings"):
        return None
    settings = parsed(row, "settings")
    return math.prod(int(settings.get(key) or default) for key, default in _BATCH)


def _scale(row: Row) -> float | None:
    """LoRA's scale: alpha/r, or alpha/√r under rsLoRA."""
    alpha, rank = row.get("lora_alpha"), row.get("lora_r")
    if alpha is None or rank is None:
        return None
    return float(alpha / (math.sqrt(rank) if parsed(row, "settings").get("use_rslora") else rank))


def _scale_guard(tuned: str | None) -> Guard:
    """Rank, scale and learning rate interact, so a rank at its own best rate is compared at what suits its scale."""
    if tuned == RATE:
        return Guard("scale alpha/r", _scale, sources=(RATE,), as_axis=f"each rank has the {RATE} that suits its scale")
    remark = (
        f"rank, scale (alpha/r) and {RATE} go together, so which rank is best depends on the other two; --tune {RATE} compares "
        "each rank at the rate that suits its scale"
    )
    return Guard("scale alpha/r", _scale, sources=("lora_alpha",), remark=remark)


def _column(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _provenance(key: str) -> Callable[[Row], Any]:
    return lambda row: parsed(row, "provenance").get(key)


def _version(package: str) -> Callable[[Row], Any]:
    def value(row: Row) -> Any:
        versions = parsed(row, "provenance").get("versions")
        return versions.get(package) if isinstance(versions, dict) else None

    return value


def _versions(trials: Iterable[tuple[str, Row]]) -> list[Guard]:
    found = [parsed(row, "provenance").get("versions") for _, row in trials]
    packages = dict.fromkeys(package for versions in found if isinstance(versions, dict) for package in versions)
    return [Guard(f"version of {package}", _version(package)) for package in packages]


_GUARDS = (
    Guard("effective batch size", _effective_batch, sources=tuple(key for key, _ in _BATCH)),
    Guard("steps", _column("steps"), sources=_LENGTH),
    Guard(
        "tokens",
        _column("tokens"),
        sources=(*_LENGTH, "max_length", "packing"),
        by_seed=True,
        remark="the trials did not see the same amount of text",
    ),
    Guard("device", _column("device_name")),
    Guard("data_fingerprint", _provenance("data_fingerprint"), sources=_DATA),
    Guard("model_fingerprint", _provenance("model_fingerprint"), sources=_MODEL),
    Guard("tokenizer", _provenance("tokenizer"), sources=_MODEL),
    Guard("git_commit", _provenance("git_commit")),
    Guard("git_dirty", _provenance("git_dirty")),
    Guard("attempts", _column("attempts"), kind="cost"),
    Guard("micro_batch", lambda row: row.get("micro_batch") or "as set", kind="cost"),  # after --on_oom shrink
    Guard("gpus_per_trial", _column("gpus_per_trial"), kind="cost"),
    Guard(
        "process_reused", _column("process_reused"), kind="neutral"
    ),  # a test holds losses against each other bit for bit
)
