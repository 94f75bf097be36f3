"""Time to load all curves of a large sweep: Ray Tune's frames against `sweep.load`.

    python -m benchmarks.store [--trials 1000] [--steps 1000] [--repetitions 3]

Both sides hold the same rows. Tune's experiment is a real one with one trial, whose state and `result.json` are replicated;
the benchmark reads `metrics_dataframe` of each result in its `ResultGrid`. Ours is written through the store, one file per
trial, and read as the frame `sweep.load(...).steps`. About 4 minutes on two cores, 1.5 GB of disk.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import median, own_ray, show, spread, timed
from benchmarks.reporting import row
from sweep.common.quiet import quiet_tune

WANTED = 50


def a_trials_settings() -> dict[str, Any]:
    """A trial's configuration for Tune, which it writes into each result."""
    from sweep.config.layers import REPORT, resolve

    config, _ = resolve(["--preset", REPORT], False)
    assert config is not None
    return dict(config.trials()[0].settings)


def one_trial(folder: Path) -> Path:
    """A real experiment with one trial and one result, as bare Tune writes it."""
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    def train(config: dict[str, Any]) -> None:
        tune.report({key: value for key, value in row(1).items() if key != "timestamp"})

    space = {"trial": tune.grid_search([a_trials_settings()])}
    run = tune.RunConfig(storage_path=str(folder), name="tune", verbose=0, callbacks=[JsonLoggerCallback()])
    with own_ray(1), quiet_tune():
        tune.Tuner(train, param_space=space, run_config=run).fit()
    return folder / "tune"


def multiply(experiment: Path, trials: int, steps: int) -> None:
    """Replicates an experiment's single trial and result into many."""
    from ray.tune.experiment import Trial

    (state_file,) = experiment.glob("experiment_state-*.json")
    (made,) = [path.parent for path in experiment.glob("*/result.json")]
    result = json.loads((made / "result.json").read_text())
    state = json.loads(state_file.read_text())
    ((content, metadata),) = state["trial_data"]
    trial = Trial.from_json_state(content, stub=True)
    state["trial_data"] = []
    for number in range(trials):
        new = trial.trial_id = trial.storage.trial_dir_name = f"trial_{number:05d}"
        state["trial_data"].append([trial.get_json_state()[0], metadata])
        (experiment / new).mkdir()
        lines = (
            json.dumps({**result, **row(step), "timestamp": 1.8e9 + step, "training_iteration": step, "trial_id": new})
            for step in range(1, steps + 1)
        )
        (experiment / new / "result.json").write_text("\n".join(lines) + "\n")
    state_file.write_text(json.dumps(state))


def write_ours(folder: Path, trials: int, steps: int) -> str:
    from sweep.store.store import Store

    store = Store(str(folder / "ours"))
    store.write_sweep({"trials": [], "axes": {}, "base": {}})
    for number in range(trials):
        name = f"trial_{number:05d}"
        rows = [{"trial_id": name, "attempt": 1, **row(step)} for step in range(1, steps + 1)]
        store.write_step_part(name, 1, 1, rows)
        store.merge_steps(name)
    return store.location


def load_theirs(experiment: Path) -> int:
    """Number of rows in Tune's frames of all trials."""
    from ray import tune
    from ray.tune import ExperimentAnalysis

    grid = tune.ResultGrid(ExperimentAnalysis(str(experiment)))
    return sum(len(result.metrics_dataframe) for result in grid)


def load_ours(location: str) -> int:
    import sweep

    return len(sweep.load(location).steps)


def measure(trials: int, steps: int, repetitions: int) -> dict[str, Any]:
    theirs: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        experiment = one_trial(Path(folder))
        multiply(experiment, trials, steps)
        location = write_ours(Path(folder), trials, steps)
        sizes = [sum(file.stat().st_size for file in Path(path).rglob("*")) for path in (experiment, location)]
        load_ours(location)  # warms up imports; both sides are in the disk cache, as they were just written
        for _ in range(repetitions):
            for seconds, work in ((ours, lambda: load_ours(location)), (theirs, lambda: load_theirs(experiment))):
                took, rows = timed(work)
                assert rows == trials * steps
                seconds.append(took)
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        "trials": trials,
        "steps": steps,
        "seconds_tune": median(theirs),
        "seconds_ours": median(ours),
        "bytes_tune": sizes[0],
        "bytes_ours": sizes[1],
        "ratio": median(ratios),
        "ratio_range": spread(ratios),
        "wanted": {"ratio": WANTED},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args(argv)
    show("store", measure(given.trials, given.steps, given.repetitions))


if __name__ == "__main__":
    main()
