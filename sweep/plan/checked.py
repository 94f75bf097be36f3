"""Turns a command line into a sweep that can run here, or reports everything that is wrong with it, at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweep import redact
from sweep.common.imports import without_gc
from sweep.common.names import Resolve, resolver
from sweep.config import configs, layers, machine, values
from sweep.config.sweep_config import SweepConfig
from sweep.contract.loading import load_trainable
from sweep.contract.trainable import Trainable
from sweep.errors import ConfigError, Problem


class Checked(NamedTuple):
    """A configuration, the trainable that runs its trials, and how it resolves local names."""

    config: SweepConfig
    trainable: Trainable
    resolve: Resolve


def checked(words: Sequence[str]) -> Checked:
    """Checks a command line on this machine.

    Raises:
        ConfigError: with everything that is wrong.
    """
    with without_gc():
        devices = machine.cuda_devices()
        config, problems = layers.resolve(words, bool(devices))
    if config is None:
        raise ConfigError(problems)
    redact.learn(config.settings)
    trials, resolve = config.trials(), resolver(str(Path.cwd()))
    problems += machine.check(config, devices)
    problems += values.of_trials(trials)
    trainable = _trainable(config, problems)
    if trainable:
        problems += configs.check(config, trainable.CONFIGS)
        problems += trainable.check_machine(trials, machine.as_told(config, devices))
        problems += trainable.check(trials, resolve)
    if problems or trainable is None:
        raise ConfigError(config.blamed(problems))
    return Checked(config, trainable, resolve)


def _trainable(config: SweepConfig, problems: list[Problem]) -> Trainable | None:
    """The trainable; None after a complaint, so that other complaints are found too."""
    try:
        return load_trainable(config.trainable)()
    except ConfigError as error:
        problems += error.complaints
        return None
