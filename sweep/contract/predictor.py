"""The interface that predicts a trainable's steps, for `python -m sweep.estimate`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sweep.common.names import Resolve
from sweep.contract.length import Extent
from sweep.contract.memory import Device, Step
from sweep.errors import Problem
from sweep.space import Trial

Settings = Mapping[str, Any]


class Predictor(Protocol):
    """Predicts steps without training: no weights are loaded, and no device is needed."""

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> Sequence[Problem]:
        """Everything that is wrong with the models, as far as a prediction needs them."""

    def extents(
        self, trials: Sequence[Trial], resolve: Resolve, rows: int | None, length: int | None
    ) -> Mapping[str, Extent]:
        """How much each trial trains, by trial id; if both are given, `rows` rows of `length` tokens replace its data.

        Raises:
            ConfigError: the data or their tokenizer cannot be loaded.
        """

    def positions(self, settings: Settings, resolve: Resolve) -> int | None:
        """The model's maximum sequence length in tokens, if it has one."""

    def step(self, settings: Settings, resolve: Resolve, length: int, device: Device) -> Step:
        """One optimizer step of a trial whose rows all have `length` tokens."""

    def micro_batch(self, settings: Settings) -> int:
        """How many rows the device processes at once."""

    def half_precision(self, settings: Settings) -> bool:
        """Whether matrix products run in 16 bits."""

    def notes(self, settings: Settings, device: Device) -> list[str]:
        """What the prediction does not simulate, or only computes by arithmetic."""
