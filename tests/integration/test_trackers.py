from pathlib import Path

import pytest

from sweep.grid import main
from sweep.store import Store
from tests.integration.test_sweep import words


@pytest.mark.usefixtures("ray_here")
def test_trackers_are_reached_offline_with_the_trials_own_ids(
    llama: str, rows_file: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    command = words(
        llama, rows_file, store, "--lora_r", "2", "4", "--max_steps", "3", "--report_to", "wandb", "tensorboard"
    )
    assert main(command) == 0
    ids = Store(f"{store}/one").trial_names()
    folder = Path(store) / "one"
    assert {run.name.split("-", 3)[-1] for run in (folder / "wandb").glob("offline-run-*")} == ids
    assert {run.name for run in (folder / "tensorboard").iterdir()} == ids
    assert all(list(run.rglob("events.out.tfevents.*")) for run in (folder / "tensorboard").iterdir())
