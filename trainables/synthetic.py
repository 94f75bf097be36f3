"""A trainable with known curves and no torch, for tests, runs at scale, and simulated clusters.

python -m sweep.grid --trainable trainables.synthetic:Synthetic --lora_r 8 32 --max_steps 50 --step_time_s 0.01
"""

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sweep.common.names import Resolve
from sweep.contract.length import Extent
from sweep.contract.memory import Device, Memory, Step
from sweep.contract.predictor import Predictor, Settings
from sweep.contract.trainable import Context, Trainable
from sweep.errors import Problem
from sweep.space import Trial
from sweep.store.store import Row

EXAMPLES, TOKENS = 50, 100
PARAMETERS, RANK_PARAMETERS = 1_000_000, 1_000


class Synthetic(Trainable):
    """Loss falls as 1/√step towards a floor that is lower for a larger rank; examples and seeds add noise."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {
        "step_time_s": (float, "seconds that a step takes"),
        "fail_at": (int | None, "step at which the trial raises"),
        "save_every": (int | None, "steps between checkpoints"),
        "enough_rank": (int, "rank from which on a larger one is no better"),
        "best_rate": (float, "learning rate with the lowest loss; without it the rate means nothing"),
        "rate_slope": (float, "how much the loss rises a decade beside the best rate, as a share of it"),
        "diverges_above": (float, "learning rate above which a trial diverges at its first step"),
        "run_noise": (float, "standard deviation of a run's loss, as a share of it"),
        "rank_bytes": (int, "bytes of device memory to report for each rank at a micro-batch of 8"),
    }

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {"data_fingerprint": "synthetic", "tokenizer": "synthetic", "model_fingerprint": "synthetic"}

    def predictor(self) -> Predictor:
        return Declared()

    def run(self, context: Context) -> Row:
        settings = context.settings
        steps = int(settings.get("max_steps", 50))
        context.total_steps = steps
        began = time.monotonic() - _seconds_before(context)
        first = context.resume_from.step + 1 if context.resume_from else 1
        losses = [row["loss"] for row in context.earlier]
        for step in range(first, steps + 1):
            time.sleep(settings.get("step_time_s", 0.0))
            losses.append(loss_at(step, settings))
            context.report(_row(step, losses[-1], settings, step / steps))
            if settings.get("learning_rate", 0.0) > settings.get("diverges_above", math.inf):
                return {"status": "diverged", "train_loss": losses[-1]}
            if step == settings.get("fail_at"):
                raise RuntimeError(f"asked to fail at step {step}")
            if settings.get("save_every") and step % settings["save_every"] == 0:
                context.save(_folder(context.work_dir / f"checkpoint-{step}", step, time.monotonic() - began), step)
            if context.should_stop():
                return {"train_loss": sum(losses) / len(losses), "tokens": len(losses) * TOKENS}
        context.evals = evals(settings, losses[-1])
        seconds = time.monotonic() - began
        context.final = _folder(context.work_dir / "final", steps, seconds)
        return {
            "train_loss": sum(losses) / len(losses),
            "eval_loss": sum(row["loss_sum"] for row in context.evals) / (EXAMPLES * TOKENS),
            "train_runtime": seconds,
            "train_steps_per_second": steps / seconds if seconds else None,
            "tokens": steps * TOKENS,
            "trainable_parameters": RANK_PARAMETERS * int(settings.get("lora_r", 1000)),
            "total_parameters": PARAMETERS,
            "device": "cpu",
        }


class Declared:
    """A Predictor whose numbers come from the settings: a step's memory grows with the rank and with its rows."""

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[Problem]:
        return []

    def extents(
        self, trials: Sequence[Trial], resolve: Resolve, rows: int | None, length: int | None
    ) -> Mapping[str, Extent]:
        return {trial.trial_id: _extent(trial.settings) for trial in trials}

    def positions(self, settings: Settings, resolve: Resolve) -> int | None:
        return None

    def step(self, settings: Settings, resolve: Resolve, length: int, device: Device) -> Step:
        rank = settings.get("lora_r", 512)
        activations = settings.get("rank_bytes", 0) * rank * self.micro_batch(settings) // 8
        weights = 4 * (PARAMETERS + RANK_PARAMETERS * rank)
        gradients = 4 * RANK_PARAMETERS * rank
        return Step(Memory(weights, gradients, 2 * gradients, activations, 0), flops=0)

    def micro_batch(self, settings: Settings) -> int:
        return int(settings.get("per_device_train_batch_size", 8))

    def half_precision(self, settings: Settings) -> bool:
        return False

    def notes(self, settings: Settings, device: Device) -> list[str]:
        return []


def _extent(settings: Settings) -> Extent:
    steps = int(settings.get("max_steps", 50))
    return Extent(steps, steps * TOKENS, TOKENS, TOKENS)


def loss_at(step: int, settings: Any) -> float:
    """The curve: a function of step and settings alone."""
    rank = min(settings.get("lora_r", 512), settings.get("enough_rank", math.inf))
    floor = 2.0 + 1.0 / math.sqrt(rank)
    noise = random.Random(f"{settings.get('seed', 0)} {step}").gauss(0, 0.01)
    return (floor + 1.0 / math.sqrt(step) + noise) * _of_run(settings)


def _of_run(settings: Any) -> float:
    """What the learning rate and the run itself do to the loss, as a factor."""
    rank, rate, seed = (settings.get(key, 0) for key in ("lora_r", "learning_rate", "seed"))
    noise = random.Random(f"{rank} {rate} {seed}").gauss(0, settings.get("run_noise", 0.0))
    best = settings.get("best_rate")
    away = math.log10(rate / best) if best and rate else 0.0
    return math.exp(settings.get("rate_slope", 0.02) * away**2 + noise)


def evals(settings: Any, loss: float) -> list[Row]:
    """Held-out rows: the same examples are hard for every trial."""
    hard = random.Random("examples")
    rows = []
    for example in range(EXAMPLES):
        mean = loss * hard.lognormvariate(0, 0.3)
        rows.append({"example_id": example, "loss_sum": mean * TOKENS, "tokens": TOKENS, "bytes": 4 * TOKENS})
    return rows


def _row(step: int, loss: float, settings: Any, epoch: float) -> Row:
    return {
        "step": step,
        "epoch": epoch,
        "loss": loss,
        "learning_rate": settings.get("learning_rate", 1e-4),
        "grad_norm": 1.0,
        "step_time_s": settings.get("step_time_s", 0.0),
        "tokens": TOKENS,
        "timestamp": datetime.now(UTC),
    }


def _folder(folder: Path, step: int, seconds: float) -> Path:
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"step": step, "seconds": seconds}))
    return folder


def _seconds_before(context: Context) -> float:
    """What earlier attempts took up to the checkpoint."""
    found = context.resume_from
    return float(json.loads((found.folder / "state.json").read_text())["seconds"]) if found else 0.0
