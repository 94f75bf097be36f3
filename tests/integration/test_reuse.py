"""A process is used again for the next trial, and nobody can tell from the numbers; one that is not clean is left."""

import json
import os
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sweep.common.names import Resolve
from sweep.contract.trainable import Context
from sweep.grid import main
from sweep.space import Trial
from sweep.store.store import Row, Store
from tests.integration.test_sweep import words

HERE = "tests.integration.test_reuse"
MEASURED = ["loss", "grad_norm", "learning_rate", "tokens"]


def numbers(store: Store, trial_id: str) -> dict[str, list[Row]]:
    """Everything that a trial computed, step by step and example by example."""
    steps = store.steps(trial_id).select(MEASURED).to_pylist()
    evals = store.evals().to_pylist()
    assert len(steps) == 6 and evals
    return {"steps": steps, "evals": [row for row in evals if row["trial_id"] == trial_id]}


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_trial_computes_the_same_bits_in_a_fresh_process_and_in_a_used_one(
    architecture: str, rows_file: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """First alone; then after full fine-tuning and another rank, all with dropout."""
    model = request.getfixturevalue(architecture)
    common = ["--max_steps", "6", "--lora_dropout", "0.1", "--max_concurrent_trials", "1"]
    assert main(words(model, rows_file, str(tmp_path / "alone"), "--lora_r", "8", *common)) == 0
    after = [*common, "--lora_r", "full", "16", "8"]
    assert main(words(model, rows_file, str(tmp_path / "after"), *after)) == 0

    alone, later = (Store(str(tmp_path / name / "one")) for name in ("alone", "after"))
    (fresh,) = alone.trials().to_pylist()
    order = sorted(later.trials().to_pylist(), key=lambda row: row["started_at"])
    assert [row["process_reused"] for row in order] == [False, True, True]
    assert fresh["process_reused"] is False
    last = order[-1]
    assert last["trial_id"] == fresh["trial_id"]
    assert numbers(later, last["trial_id"]) == numbers(alone, fresh["trial_id"])
    for column in ("train_loss", "eval_loss", "trainable_parameters", "total_parameters"):
        assert last[column] == fresh[column] is not None


class Plain:
    """A trainable of a few rows."""

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> Row:
        for number in range(1, 4):
            context.report({"step": number, "loss": 1.0 / number, "timestamp": datetime.now(UTC)})
        return {}


class Model:
    """What must not outlive its trial."""


class Forgetful(Plain):
    """Rank 1's model stays behind in a global; every trial notes its process."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {"notes": (str, "folder for the notes")}
    kept: ClassVar[list[Model]] = []

    def run(self, context: Context) -> Row:
        model, file = Model(), Path(context.settings["notes"]) / f"{context.settings['lora_r']}.json"
        context.leftovers.append(weakref.ref(model))
        if context.settings["lora_r"] == 1:
            self.kept.append(model)
        file.write_text(json.dumps({"pid": os.getpid(), "kept": len(self.kept)}))
        return super().run(context)


@pytest.mark.usefixtures("ray_here")
def test_a_process_in_which_something_is_left_is_not_used_again(store: str, tmp_path: Path) -> None:
    command = ["--trainable", f"{HERE}:Forgetful", "--notes", str(tmp_path), "--lora_r", "1", "2", "3"]
    command += ["--storage_path", store, "--name", "one", "--max_concurrent_trials", "1", "--max_failures", "0"]
    assert main(command) == 0
    notes = {rank: json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (1, 2, 3)}
    assert notes[1]["pid"] != notes[2]["pid"] == notes[3]["pid"]
    assert [notes[rank]["kept"] for rank in (1, 2, 3)] == [1, 0, 0]

    place = Store(f"{store}/one")
    rows = {row["lora_r"]: row for row in place.trials().to_pylist()}
    assert [rows[rank]["process_reused"] for rank in (1, 2, 3)] == [False, False, True]
    for row in rows.values():
        assert row["status"] == "completed" and row["attempts"] == 1 and row["steps"] == 3
    said = {rank: place.read_bytes(row["log"]).decode() for rank, row in rows.items()}
    assert said[2].splitlines() == [
        f"The previous trial's process ({notes[1]['pid']}) is not reused, since it is not clean: "
        "the last trial's Model is still alive. A fresh one was started."
    ]
    assert said[1] == said[3] == ""
