"""Measures a sweep on this machine: ten real steps of each configuration, and the effect of a few settings."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sweep.common.formatting import sentence
from sweep.common.names import resolver
from sweep.contract.cards import CARDS, Card, name_of_device
from sweep.contract.loading import load_trainable
from sweep.contract.measurer import Asked, Measurer, Phase, Ran
from sweep.contract.memory import Device
from sweep.errors import Complaint, ConfigError
from sweep.estimate.forecast import checked, predict
from sweep.estimate.measured import Comparison, Line, Measured, Rates, Way
from sweep.estimate.prediction import Assumed, Predicted, alike
from sweep.space import Trial

if TYPE_CHECKING:
    from sweep.config.sweep_config import SweepConfig

T = TypeVar("T")
STEPS = 10
SELDOM = 50  # steps between logs, so that logging costs nothing
BF16 = {"bf16": True, "fp16": False}
FP32 = {"bf16": False, "fp16": False, "dtype": "float32"}
USUAL = {"fp16": False, "dtype": "float32"}  # if a trial's settings do not say
VERSIONS = ("torch", "transformers", "trl", "peft")


def prepared(
    words: Sequence[str], assumed: Assumed, device: Device | None, random_weights: bool
) -> "tuple[SweepConfig, Assumed, Measurer]":
    """The configuration of a command line on this machine, for `device` or, by default, the one that training would use.

    Raises:
        ConfigError: with everything that is wrong.
    """
    here: Device = "cuda" if _cuda() else "cpu"
    if device == "cuda" and here == "cpu":
        raise ConfigError(
            ["--device cuda: this machine has no CUDA device that torch can use. Measure where there is one."]
        )
    assumed = replace(assumed, device=device or here)
    if assumed.device == "cpu" and assumed.gpu:
        raise ConfigError(["--gpu: names a card, and this machine, which is measured, has none that torch can use."])
    config = checked(words, assumed)
    measurer = load_trainable(config.trainable)().measurer()
    if measurer is None:
        raise ConfigError([Complaint("trainable", f" {config.trainable!r} has no measurer, which --measure needs.")])
    wrong = measurer.check(config.trials(), resolver(str(Path.cwd())), random_weights)
    if wrong:
        raise ConfigError(config.blamed(wrong))
    return config, assumed, measurer


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def measure(config: "SweepConfig", assumed: Assumed, measurer: Measurer, random_weights: bool) -> Measured:
    """Trains in this process, one configuration after the other. If one fails, its reason is recorded and the others run.

    Raises:
        ConfigError: the data cannot be loaded, or a length exceeds the model's.
    """
    from importlib.metadata import version

    name = measurer.device_name(assumed.device)
    card_name, card = _card(assumed, name)
    predicted = predict(config, replace(assumed, gpu=None)).configurations
    threads = 0 if assumed.device == "cuda" else max(1, int(config.cpus_per_trial))  # as in a trial
    bench = _Bench(measurer, Asked(assumed.device, random_weights, assumed.length, threads))
    trials = {label: same[0] for label, same in alike(config.trials()).items()}
    lines = tuple(bench.line(one, trials[one.label]) for one in predicted)
    price = assumed.price_per_hour
    return Measured(
        device=assumed.device,
        device_name=name,
        card_name=card_name,
        card=card,
        random_weights=random_weights,
        steps=STEPS,
        lines=lines,
        comparisons=bench.comparisons(lines, trials),
        price_per_hour=card.usd_per_hour if price is None and card else price,
        versions={library: version(library) for library in VERSIONS},
    )


def _card(assumed: Assumed, device_name: str) -> tuple[str | None, Card | None]:
    if assumed.gpu is not None:
        return assumed.gpu, CARDS[assumed.gpu]
    name = name_of_device(device_name)
    return name, CARDS[name] if name else None


@dataclass(frozen=True)
class _Bench:
    measurer: Measurer
    asked: Asked

    def run(self, trial: Trial, *phases: Phase) -> Ran:
        return self.measurer.run(trial, resolver(str(Path.cwd())), self.asked, phases)

    def line(self, predicted: Predicted, trial: Trial) -> Line:
        _say(f"{predicted.label}: {STEPS} steps")
        ran, reason = attempted(lambda: self.run(trial, Phase(STEPS)))
        return Line(predicted, ran, reason)

    def comparisons(self, lines: tuple[Line, ...], trials: Mapping[str, Trial]) -> dict[str, Comparison]:
        """Comparisons for the first configuration that could be trained."""
        line = next((one for one in lines if one.ran), None)
        if line is None:
            nothing = Comparison(None, {}, "no configuration could be trained.")
            return dict.fromkeys(("logging", "precision", "packing"), nothing)
        trial = trials[line.predicted.label]
        ways: dict[str, Callable[[], dict[str, Way]]] = {
            "logging": lambda: self._logging(trial, line),
            "precision": lambda: self._precision(trial, line),
            "packing": lambda: self._packing(trial, line),
        }
        return {name: _compared(name, line.predicted.label, way) for name, way in ways.items()}

    def _logging(self, trial: Trial, line: Line) -> dict[str, Way]:
        """Alternates within one training, so that a machine that slows down slows both."""
        often, seldom = Phase(STEPS), Phase(STEPS, log_every=SELDOM)
        ran = self.run(trial, often, seldom, often, seldom)
        peak = replace(line, ran=ran).peak_bytes
        return {
            "every_step": Way(Rates.of(*ran.phases[::2]), peak),
            f"every_{SELDOM}_steps": Way(Rates.of(*ran.phases[1::2]), peak),
        }

    def _precision(self, trial: Trial, line: Line) -> dict[str, Way]:
        return {"bf16": self._changed(trial, line, BF16), "fp32": self._changed(trial, line, FP32)}

    def _packing(self, trial: Trial, line: Line) -> dict[str, Way]:
        """Compares both in bfloat16, which the kernel needs."""
        packed = self.measurer.packed(trial.settings, self.asked.device)
        return {"packed": self._changed(trial, line, packed), "not_packed": self._changed(trial, line, BF16)}

    def _changed(self, trial: Trial, line: Line, change: Mapping[str, Any]) -> Way:
        """Measures the changed trial, unless the change is what `line` measured already."""
        same = all(trial.settings.get(key, USUAL.get(key)) == value for key, value in change.items())
        changed = replace(trial, settings={**trial.settings, **change})
        ran = line.ran if same and line.ran else self.run(changed, Phase(STEPS))
        return Way(Rates.of(*ran.phases), replace(line, ran=ran).peak_bytes)


def _compared(name: str, configuration: str, compare: Callable[[], dict[str, Way]]) -> Comparison:
    _say(f"{name}, {configuration}")
    ways, reason = attempted(compare)
    return Comparison(configuration, ways or {}, reason)


def attempted(work: Callable[[], T]) -> tuple[T | None, str | None]:
    """The result of `work`, or None and the error in one sentence. The exception's frames, and what they hold, are released."""
    try:
        return work(), None
    except Exception as error:  # a library's, or the device's
        return None, f"{type(error).__name__}: {sentence(str(error), 300)}"


def _say(what: str) -> None:
    print(f"Measuring {what}.", file=sys.stderr)
