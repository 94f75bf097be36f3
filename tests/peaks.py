"""A trial's peak of memory on a device, predicted and measured: for tests on a CPU and on cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweep.common.names import PROJECT
from sweep.contract.measurer import Asked, Phase, Ran
from sweep.contract.memory import Device
from sweep.space import trials
from trainables.measure.measurer import StepMeasurer
from trainables.predict.steps import simulate

FIXTURES = Path(__file__).parent / "fixtures"
BASE = {
    "lora_target_modules": ["q_proj", "v_proj"],
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "per_device_train_batch_size": 8,
    "bf16": False,
    "activation_checkpointing": False,
}
DEMO = {**BASE, "model_name_or_path": str(PROJECT / "trainables" / "demo" / "model")}
OPT_350M = {**BASE, "model_name_or_path": str(FIXTURES / "opt-350m")}


class Peaks(NamedTuple):
    predicted: int
    ran: Ran


def peaks(settings: Mapping[str, Any], rank: int, length: int, device: Device) -> Peaks:
    """Of ten steps with random weights on random tokens."""
    trial = trials(settings, (rank,), (0,), {}, "fixed")[0]
    ran = StepMeasurer(_no_data).run(trial, str, Asked(device, True, length, threads=1), [Phase(10)])
    return Peaks(simulate(trial.settings, str, length, device).memory.total, ran)


def _no_data(*args: Any) -> Any:
    raise AssertionError("random tokens need no data")
