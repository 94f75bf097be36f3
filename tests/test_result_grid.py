"""Ray Tune's view of a sweep, from files as Tune writes them."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis
from sweep.errors import StoreError
from sweep.store.checkpoints import SEAL
from sweep.store.loading import load
from sweep.store.result_grid import result_grid
from sweep.store.store import Store
from tests.integration.faults import made

FIRST, SECOND, THIRD = (f"20261125-20544{n}-000000-{9 - n}" for n in (1, 2, 3))


def begun(store: Store, run: str, trial_id: str, losses: list[float], status: str | None = None) -> None:
    """A trial's folder in a run; with a status it ended there."""
    config = {"trial": {"trial_id": trial_id, "lora_r": int(trial_id[1:])}}
    rows: list[dict[str, Any]] = [
        {"trial_id": f"{run[-1]}_{trial_id}", "step": step, "eval_loss": loss, "done": False, "config": config}
        for step, loss in enumerate(losses, 1)
    ]
    if status:
        rows[-1] |= {"done": True, "status": status}
    folder = f"tune/{run}/{trial_id}"
    store.write_bytes(f"{folder}/params.json", json.dumps(config).encode())
    if rows:
        store.write_bytes(f"{folder}/result.json", "".join(json.dumps(row) + "\n" for row in rows).encode())


def swept(location: str) -> Store:
    """Three runs: r2 completed in the first, r4 failed and then completed, r8 and r16 are under way."""
    store = Store(location)
    store.write_sweep({"axes": {}, "trials": []})
    begun(store, FIRST, "r2", [3.0, 2.5], "completed")
    begun(store, FIRST, "r4", [4.0], "failed")
    begun(store, FIRST, "r8", [6.0, 5.0])
    begun(store, SECOND, "r4", [3.5, 2.0], "completed")
    begun(store, SECOND, "r8", [4.5])
    begun(store, THIRD, "r2", [9.0])
    begun(store, THIRD, "r8", [])
    begun(store, THIRD, "r16", [])
    store.write_trial({"trial_id": "r4", "status": "completed", "checkpoint": "checkpoints/r4/final"}, {})
    old = f"tune/{FIRST}/r2/checkpoint_000000"  # an earlier version's
    store.write_trial({"trial_id": "r2", "status": "completed", "checkpoint": old}, {})
    store.write_bytes(f"checkpoints/r8/1/{SEAL}", b'{"step": 1, "outcome": null, "files": {}}')
    return store


def assert_right(store: Store) -> None:
    grid = load(store.location).result_grid()
    found = {
        Path(result.path).name: (Path(result.path).parent.name, result.metrics.get("eval_loss")) for result in grid
    }
    assert found == {"r2": (FIRST, 2.5), "r4": (SECOND, 2.0), "r8": (SECOND, 4.5), "r16": (THIRD, None)}
    assert (grid.num_terminated, grid.num_errors) == (2, 0)
    best = grid.get_best_result("eval_loss", "min")
    assert best.config["trial"] == {"trial_id": "r4", "lora_r": 4}
    assert best.metrics_dataframe.eval_loss.tolist() == [3.5, 2.0]
    assert best.metrics["checkpoint"] == "checkpoints/r4/final" and best.checkpoint is None
    named = {Path(result.path).name: result.metrics.get("checkpoint") for result in grid}
    assert (named["r8"], named["r16"], named["r2"]) == (
        "checkpoints/r8/1", None, f"tune/{FIRST}/r2/checkpoint_000000",
    )  # fmt: skip
    assert grid.get_best_result("eval_loss", "max", scope="all").config["trial"]["lora_r"] == 8


def test_of_a_trial_in_several_runs_the_attempt_that_completed_counts_else_the_newest(tmp_path: Path) -> None:
    assert_right(swept(str(tmp_path / "one")))


def test_a_relative_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_right(swept("results/one"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # moto's server leaves its sockets open
def test_an_object_store_will_do(tmp_path: Path) -> None:
    with made("endpoint", tmp_path) as endpoint:
        assert_right(swept(f"{endpoint.location}/one"))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    from ray.tune import ExperimentAnalysis

    store, mark = swept(str(tmp_path / "one")), tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(mark))
    embedded = {"_type": "CLOUDPICKLE_FALLBACK", "value": bomb.hex()}
    for run in (FIRST, SECOND, THIRD):
        store.write_bytes(f"tune/{run}/experiment_state-2026.json", json.dumps({"trial_data": embedded}).encode())
        store.write_bytes(f"tune/{run}/tuner.pkl", bomb)
        for trial_id in ("r2", "r4", "r8", "r16"):
            for name in ("params.pkl", "error.pkl"):
                store.write_bytes(f"tune/{run}/{trial_id}/{name}", bomb)
    assert_right(store)
    assert not mark.exists()
    with pytest.raises(TypeError):
        ExperimentAnalysis(f"{store.location}/tune/{FIRST}")
    assert mark.exists()  # Tune's own way does it


def test_an_attempt_that_tune_gave_up_is_an_error_once_its_trial_has_ended(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for trial_id in ("r2", "r4"):
        begun(store, FIRST, trial_id, [2.0])
        store.write_bytes(f"tune/{FIRST}/{trial_id}/error.txt", b"The actor died.")
    store.write_trial({"trial_id": "r2", "status": "failed"}, {})  # the other one is being tried again
    assert result_grid(store).errors == ["The actor died."]


def test_a_result_that_was_cut_off_in_mid_write_is_left_out(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    begun(store, FIRST, "r2", [3.0, 2.0])
    name = f"tune/{FIRST}/r2/result.json"
    store.write_bytes(name, store.read_bytes(name)[:-2])  # a line that ends like a whole one
    (result,) = result_grid(store)
    assert result.metrics["eval_loss"] == 3.0


def test_where_there_are_no_results_of_tunes_it_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "sweep"))
    store.write_sweep({"axes": {}, "trials": []})
    with pytest.raises(StoreError, match="no trial has begun"):
        load(store.location).result_grid()
    table = tmp_path / "rows.csv"
    table.write_text("lora_r,train_loss\n8,1.5\n")
    with pytest.raises(StoreError, match="only a sweep's folder"):
        analysis.from_file(str(table)).result_grid()
