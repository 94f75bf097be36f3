"""Answers to toy sweeps: rows that a test writes down, as files of the real schema or as a CSV."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweep import analysis
from sweep.answer.answer import Answer
from sweep.store.store import Store
from tests.simulate import Design, losses, write

REPORT = """lora_r,train_runtime,train_samples_per_second,train_steps_per_second,train_loss,max memory allocated
8,2979.7306,20.158,2.520,1.7972377590911495,3.1 GB
128,3150.6706,19.065,2.383,1.7855897097727924,3.2 GB
256,3377.9271,17.782,2.223,1.7853196822687287,3.4 GB
"""


def csv_file(folder: Path, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text)
    return str(path)


def of_csv(folder: Path, text: str, **options: Any) -> Answer:
    return analysis.answer(analysis.from_file(csv_file(folder, text)), **options)


def row(trial_id: str = "r8-s0", lora_r: int | None = 8, seed: int = 0, **values: Any) -> dict[str, Any]:
    """A toy trial row, completed unless told otherwise."""
    settings, provenance = values.pop("settings", {}), values.pop("provenance", {})
    return {
        "trial_id": trial_id,
        "status": "completed",
        "method": "full" if lora_r is None else "lora",
        "lora_r": lora_r,
        "seed": seed,
        "eval_loss": 2.0,
        "settings": json.dumps(settings),
        "provenance": json.dumps(provenance),
        **values,
    }


def of_rows(
    folder: Path, rows: Sequence[dict[str, Any]], axes: Sequence[dict[str, Any]] | None = None, **config: Any
) -> Answer:
    store = Store(str(folder / "toy"))
    names = {name for further in axes or () for name in further}
    store.write_sweep({"axes": {name: [] for name in names}, "trials": [], **config})
    for one, further in zip(rows, axes or [{}] * len(rows), strict=True):
        store.write_trial(one, further)
    return analysis.answer(analysis.load(store.location))


def simulated(folder: Path, design: Design, seed: int = 0) -> Store:
    store = Store(str(folder / "simulated"))
    sums, tokens = losses(design, 1, np.random.default_rng(seed))
    write(store, sums[0], tokens[0])
    return store


def recommended(answer: Answer) -> str:
    assert answer.recommendation
    return answer.recommendation.label
