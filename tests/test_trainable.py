"""What a trainable declares is what a sweep knows of it; nothing depends on where it lives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ray import cloudpickle

from sweep import grid
from sweep.common.names import Resolve
from sweep.config import configs, machine
from sweep.config.layers import resolve
from sweep.config.sweep_config import SweepConfig
from sweep.contract.loading import load_trainable
from sweep.contract.trainable import Context, Trainable
from sweep.errors import ConfigError
from sweep.estimate.__main__ import main as estimate
from sweep.space import Trial
from sweep.store.store import Row
from trainables.sft import SFT
from trainables.synthetic import Synthetic


@dataclass
class Lesson:
    """A configuration class of somebody's own."""

    pupils: int = field(default=3, metadata={"help": "how many learn"})
    subject: str | None = None

    def __post_init__(self) -> None:
        if self.pupils > 30:
            raise ValueError("the room is too small")


class Lessons(Synthetic):
    CONFIGS = (f"{__name__}:Lesson",)
    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {"minutes": (int, "of a lesson")}
    REQUIRED = ("subject",)


class Broken(Synthetic):
    CONFIGS = ("nowhere:Lesson",)


class Plain:
    """Has what it must have, and is derived from nothing."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {"color": (str, "of the paint")}

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> Row:
        return {}


class Unfinished(Trainable):
    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []


class Derived(SFT):
    """Anybody's, by another name than ours."""


def configured(kind: type, *words: str) -> tuple[SweepConfig | None, list[str]]:
    config, problems = resolve(["--trainable", f"{__name__}:{kind.__name__}", *words], cuda=False)
    return config, [*map(str, problems)]


def test_its_dataclasses_and_settings_are_its_flags() -> None:
    config, wrong = configured(Lessons, "--subject", "maths", "--pupils", "7", "--grid", "minutes=30,45")
    assert config is not None and not wrong
    assert config.settings == {"subject": "maths", "pupils": 7} and config.grid == {"minutes": (30, 45)}


def test_a_setting_of_trls_is_none_of_a_trainable_that_declares_others() -> None:
    _, wrong = configured(Lessons, "--subject", "maths", "--learning_rate", "1")
    assert wrong == ["--learning_rate: unrecognized setting."]


def test_what_it_requires_is_missed() -> None:
    _, wrong = configured(Lessons)
    assert wrong == ["--subject is missing: name one, or start from --preset demo."]


def test_its_dataclasses_say_themselves_what_they_refuse() -> None:
    config, _ = configured(Lessons, "--subject", "maths", "--pupils", "31", "--lora_r", "8")
    assert config is not None
    said = configs.check(config, Lessons.CONFIGS)
    assert [*map(str, said)] == ["--pupils 31: refused by the trainer: the room is too small."]


def test_a_dataclass_that_cannot_be_had_is_a_complaint() -> None:
    config, (said,) = configured(Broken)
    assert config is None and said.startswith("--trainable: it declares nowhere:Lesson in CONFIGS")


def test_a_plain_class_has_the_defaults_and_travels_to_another_process() -> None:
    kind = load_trainable(f"{__name__}:Plain")
    arrived = cloudpickle.loads(cloudpickle.dumps(kind))()
    assert arrived.identify([], str) == arrived.lengths([], str) == {} and arrived.predictor() is None
    assert arrived.prepare([], str) == (None, {})
    config, wrong = configured(Plain, "--color", "red", "--max_steps", "3")
    assert config is not None and not wrong and config.settings == {"color": "red", "max_steps": 3}


def test_one_that_has_not_what_it_must_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="Unfinished' has no prepare and no run"):
        load_trainable(f"{__name__}:Unfinished")


def test_who_derives_from_ours_is_checked_as_ours() -> None:
    """It was not, while checks went by the name's beginning."""
    _, wrong = configured(Derived)
    assert [text.partition(" is missing")[0] for text in wrong] == ["--model_name_or_path", "--dataset_name"]
    config, _ = configured(Derived, "--model_name_or_path", "M", "--dataset_name", "D.json", "--gpus_per_trial", "0")
    assert config is not None
    (said,) = Derived().check_machine(config.trials(), machine.as_told(config, devices=1))
    assert str(said).startswith("--bf16: on by default, and --gpus_per_trial 0 trains on the CPU.")


def test_help_all_is_of_the_trainable_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main(["--help_all"]) == 0
    ours = capsys.readouterr().out
    assert "--learning_rate" in ours and "instruction, output" in ours
    assert grid.main(["--trainable", f"{__name__}:Lessons", "--help_all"]) == 0
    theirs = capsys.readouterr().out
    assert "--pupils  (a whole number) how many learn" in theirs and "--minutes" in theirs
    assert "--learning_rate  (" not in theirs


def test_what_nothing_predicts_is_refused_in_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert estimate(["--trainable", f"{__name__}:Plain", "--lora_r", "8"]) == 2
    said = capsys.readouterr().err
    assert f"--trainable '{__name__}:Plain' has no predictor" in said and "Traceback" not in said
