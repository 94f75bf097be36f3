"""What can be known of a model, and of its adapter, before it is loaded."""

from pathlib import Path
from typing import Any

import pytest

from sweep.space import Trial, trials
from tests import toys
from trainables import model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("model") / "llama")


def trials_of(folder: Path, **settings: Any) -> list[Trial]:
    return trials({"model_name_or_path": str(folder), **settings}, [4], [0], {}, "fixed")


def adapted(folder: Path, **settings: Any) -> list[str]:
    """The modules that get an adapter when the trial's own configuration is applied to the model."""
    (trial,) = trials_of(folder, **settings)
    network = model.with_adapter(model.skeleton(str(folder), {}, str), trial.settings)
    return sorted(
        {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in network.named_modules() if "lora_A" in name}
    )


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (["q_proj"], ["q_proj"]),
        (["self_attn.q_proj"], ["q_proj"]),
        (["q_proj", "v_proj"], ["q_proj", "v_proj"]),
        ([r".*\.(q|k)_proj"], ["k_proj", "q_proj"]),
        (["all-linear"], ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]),
    ],
)
def test_one_target_module_is_a_list_of_one(llama: Path, targets: list[str], found: list[str]) -> None:
    assert model.complaints(trials_of(llama, lora_target_modules=targets), str) == []
    assert adapted(llama, lora_target_modules=targets) == found


@pytest.mark.parametrize(
    ("target", "said"),
    [("(", "neither a module's name nor a regular expression"), ("q", "no such module"), ("q_proj|v_proj", "no such")],
)
def test_a_target_module_that_matches_nothing_is_refused(llama: Path, target: str, said: str) -> None:
    (complaint,) = model.complaints(trials_of(llama, lora_target_modules=[target]), str)
    assert said in str(complaint)
