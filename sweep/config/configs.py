"""Checks trials' settings by constructing the dataclasses that a trainable declares, such as SFTConfig."""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.common.formatting import sentence
from sweep.config.coercion import as_text
from sweep.config.sweep_config import SweepConfig
from sweep.contract.loading import load
from sweep.errors import Complaint, Problem


def check(config: SweepConfig, classes: Sequence[str]) -> list[Problem]:
    """Everything that the classes refuse, without duplicates; they are named as "module:name"."""
    mine = {cls: {field.name for field in dataclasses.fields(cls) if field.init} for cls in map(load, classes)}
    found: dict[Problem, None] = {}
    for trial in config.trials():
        for cls, names in mine.items():
            chosen = {key: value for key, value in trial.settings.items() if key in names}
            refusal = _refusal(cls, chosen)
            if refusal:
                found[_complaint(config, cls, chosen, f": refused by the trainer: {sentence(refusal)}")] = None
    return list(found)


def _complaint(config: SweepConfig, cls: Any, chosen: Mapping[str, Any], text: str) -> Problem:
    """A complaint that names the refused settings, each with its value."""
    blamed = [key for key in _blamed(cls, chosen) if key != "seed"]
    if not blamed:
        return f"the settings{text}"
    first, *others = blamed
    also = "".join(f", {config.written(key)} {as_text(chosen[key])}" for key in others)
    return Complaint(first, f" {as_text(chosen[first])}{also}{text}")


def _refusal(cls: Any, settings: Mapping[str, Any]) -> str | None:
    """The error that the class raises for the settings, if any."""
    try:
        instantiate(cls, settings)
    except Exception as error:  # whatever the library raises is about a value
        return str(error) or type(error).__name__
    return None


def instantiate(cls: Any, settings: Mapping[str, Any]) -> Any:
    """Constructs a dataclass, such as SFTConfig, from settings, outside a trial.

    Checks that need the trial's device are left to the trial. Raises whatever the library raises.
    """
    here = {"use_cpu": True, "bf16": False, "fp16": False, "tf32": None, "report_to": "none", "output_dir": "unused"}
    names = {field for field in here if field in cls.__dataclass_fields__}
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():  # a deprecated setting still works
            warnings.simplefilter("ignore")
            return cls(**{**settings, **{key: here[key] for key in names}})
    finally:  # some settings are passed to other libraries through the environment
        for key in os.environ.keys() - environment.keys():
            del os.environ[key]
        os.environ.update(environment)


def _blamed(cls: Any, settings: Mapping[str, Any]) -> list[str]:
    """The settings that are refused on their own or, if there are none, those without which the rest is accepted."""
    alone = [key for key, value in settings.items() if _refusal(cls, {key: value})]
    return alone or [
        key for key in settings if not _refusal(cls, {one: value for one, value in settings.items() if one != key})
    ]
