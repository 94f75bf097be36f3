"""SFT's Predictor for `python -m sweep.estimate`: simulates steps on fake tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweep.common.names import Resolve
from sweep.contract.length import Extent
from sweep.contract.memory import Device, Step
from sweep.contract.predictor import Settings
from sweep.errors import Complaint
from sweep.space import Trial
from trainables import model
from trainables.data.tokens import Tokens, data_key
from trainables.predict import network, steps
from trainables.predict.extents import assumed, counted
from trainables.predict.notes import notes

Prepare = Callable[[Sequence[Trial], Resolve], tuple[Mapping[str, Tokens], dict[str, Any]]]


class StepPredictor:
    """A Predictor; `prepare` returns the trials' tokens by data key, if they are to be counted."""

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[Complaint]:
        """Checks the models' configurations, which are all that a prediction needs."""
        return model.complaints(trials, resolve, with_weights=False)

    def extents(
        self, trials: Sequence[Trial], resolve: Resolve, rows: int | None, length: int | None
    ) -> Mapping[str, Extent]:
        if rows is not None and length is not None:
            return {trial.trial_id: assumed(trial.settings, rows, length) for trial in trials}
        tokens, _ = self._prepare(trials, resolve)
        return {trial.trial_id: counted(trial.settings, tokens[data_key(trial.settings)]) for trial in trials}

    def positions(self, settings: Settings, resolve: Resolve) -> int | None:
        return network.positions(settings, resolve)

    def step(self, settings: Settings, resolve: Resolve, length: int, device: Device) -> Step:
        return steps.simulate(settings, resolve, length, device)

    def micro_batch(self, settings: Settings) -> int:
        return int(steps.arguments(settings).per_device_train_batch_size)

    def half_precision(self, settings: Settings) -> bool:
        args = steps.arguments(settings)
        return bool(args.bf16 or args.fp16 or settings.get("dtype") in ("bfloat16", "float16"))

    def notes(self, settings: Settings, device: Device) -> list[str]:
        return notes(settings, device)
