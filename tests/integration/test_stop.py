"""A scheduler's stop ends a trial's training within one step of its arrival, with its rows all there."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sweep.common.names import Resolve
from sweep.contract.trainable import Context
from sweep.grid import main
from sweep.space import Trial
from sweep.store.store import Row, Store
from trainables import synthetic

HERE = "tests.integration.test_stop"


class Listening:
    """The synthetic trainable, in a process with an ear of its own: it notes at which step the stop was there."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {**synthetic.Synthetic.SETTINGS, "notes": (str, "a folder")}

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        return []

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[Any, dict[str, Any]]:
        return None, {}

    def run(self, context: Context) -> Row:
        """The stop may be there from some time between two looks of the ear: both are noted."""
        ended, reported, looks = threading.Event(), [0], [0, 0]
        report = context.report

        def count(row: Row) -> None:
            report(row)
            reported[0] = row["step"]

        def listen() -> None:
            while not ended.is_set():
                looks[0] = reported[0]
                if context.should_stop():
                    looks[1] = reported[0]
                    return
                time.sleep(0.002)

        context.report = count
        ear = threading.Thread(target=listen)
        ear.start()
        outcome = synthetic.Synthetic().run(context)
        ended.set()
        ear.join()
        note = {"silent": looks[0], "heard": looks[1]}
        (Path(context.settings["notes"]) / f"{context.trial_id}.json").write_text(json.dumps(note))
        return outcome


@pytest.mark.usefixtures("ray_here")
def test_a_stop_by_asha_ends_a_trial_within_one_step_and_its_rows_are_there(store: str, tmp_path: Path) -> None:
    """The better ranks come first, so that the later ones are stopped at the first rung."""
    command = ["--trainable", f"{HERE}:Listening", "--notes", str(tmp_path), "--scheduler", "asha"]
    command += ["--lora_r", "512", "64", "8", "2", "1", "--max_steps", "60", "--step_time_s", "0.05"]
    assert main([*command, "--storage_path", store, "--name", "one", "--max_concurrent_trials", "1"]) == 0
    place = Store(f"{store}/one")
    rows = place.trials().to_pylist()
    assert [row["status"] for row in rows].count("pruned") >= 2 and len(rows) == 5
    frame = place.steps().to_pandas()
    for row in rows:
        steps = frame[frame.trial_id == row["trial_id"]].step.tolist()
        assert steps == list(range(1, row["steps"] + 1))
        assert row["dropped_rows"] == 0 and row["attempts"] == 1
        if row["status"] == "pruned":
            note = json.loads((tmp_path / f"{row['trial_id']}.json").read_text())
            assert 10 <= note["silent"] <= note["heard"] <= row["steps"] < 60
            assert row["steps"] <= note["heard"] + 1
        else:
            assert row["steps"] == 60
