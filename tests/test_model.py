"""How a trial's base model is loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trl.trainer.sft_trainer
from trl import SFTConfig

from sweep.space import trials
from tests.untuned import context_of, settings
from trainables.training.meters import Memory
from trainables.training.train import train


class Loaded(Exception):
    """What the model was about to be loaded with."""


@pytest.mark.parametrize(("device", "expected"), [("cuda:0", {"": "cuda:0"}), ("cpu", None)])
def test_the_whole_model_is_loaded_on_the_trials_device(
    device: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL itself would say "auto" on a GPU, which goes by the free memory. The device is a stand-in: nothing is loaded."""

    def load(path: str, **given: Any) -> None:
        raise Loaded(given)

    (trial,) = trials(settings(tmp_path), [8], [0], {}, "fixed")
    context = context_of(trial, tmp_path)
    real = SFTConfig.device.fget  # sets the process's state up as well
    monkeypatch.setattr(SFTConfig, "device", property(lambda args: real(args) and torch.device(device)))
    monkeypatch.setattr(Memory, "of", lambda device: Memory(None))
    monkeypatch.setattr(trl.trainer.sft_trainer, "create_model_from_path", load)
    with pytest.raises(Loaded) as loaded:
        train(context)
    given = loaded.value.args[0]
    assert given["device_map"] == expected
    assert given["use_safetensors"] is True
