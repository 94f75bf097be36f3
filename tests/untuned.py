"""A trial's training by itself: no Ray, no store."""

import json
from pathlib import Path
from typing import Any

from sweep.common.names import resolver
from sweep.contract.trainable import Context
from sweep.space import Trial
from tests import toys
from trainables.sft import SFT

RESOLVE = resolver(".")


def settings(folder: Path) -> dict[str, Any]:
    """Of two steps on a toy model and thirty rows, both made in the folder; a checkpoint after the second."""
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"text": f"def f{n}(): return {n}"}) for n in range(30)))
    return {
        "model_name_or_path": str(toys.model(folder / "llama", "llama")),
        "dataset_name": str(folder / "rows.jsonl"),
        "test_split_size": 5,
        "max_steps": 2,
        "save_steps": 2,
        "bf16": False,
        "activation_checkpointing": False,
    }


def context_of(trial: Trial, work_dir: Path, **given: Any) -> Context:
    """What the trial's training is given, with nobody listening unless said otherwise."""
    shared, _ = SFT().prepare([trial], RESOLVE)
    nobody: dict[str, Any] = {
        "report": lambda row: None,
        "save": lambda folder, step: None,
        "should_stop": lambda: False,
    }
    return Context(
        trial_id=trial.trial_id,
        settings=trial.settings,
        shared=shared,
        resolve=RESOLVE,
        work_dir=work_dir,
        **(nobody | given),
    )
