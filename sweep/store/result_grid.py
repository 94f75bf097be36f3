"""Ray Tune's own view of a sweep: one `ResultGrid` over the trials of all its runs.

Tune's way to one, `Tuner.restore`, knows a single run and unpickles what it finds there (`tuner.pkl`, and pickles within
`experiment_state-*.json`). Here Tune is given its trials, and all that is read of its files is text: each trial's
`params.json`, `result.json` and `error.txt`. Where a trial's adapter is, its metric `checkpoint` says, relative to the sweep.

Tune has no public way to do this: tests/test_ray_internals.py says what a version of Ray has changed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from sweep.errors import StoreError
from sweep.store import checkpoints
from sweep.store.location import filesystem
from sweep.store.store import Row, Store

if TYPE_CHECKING:
    from ray.tune import ResultGrid
    from ray.tune.experiment import Trial

SHRUNK = ".shrunk"  # ends the name of a trial's folder for its second time in a run, with half the micro-batch


@dataclass(frozen=True)
class _Attempt:
    """A trial's folder in one run, by the names under which Tune asks a trial's `storage` for it."""

    storage_filesystem: pafs.FileSystem
    trial_fs_path: str
    files: frozenset[str]

    @property
    def trial_id(self) -> str:
        return self.trial_fs_path.rsplit("/", 1)[1].removesuffix(SHRUNK)

    @property
    def experiment_dir_name(self) -> str:
        return self.trial_fs_path.rsplit("/", 2)[1]

    @property
    def shrunk(self) -> bool:
        return self.trial_fs_path.endswith(SHRUNK)

    def config(self) -> Row:
        return dict(json.loads(self._text("params.json") or "{}"))

    def results(self) -> list[Row]:
        """What the trial reported to Tune, oldest first; a line that was cut off in mid-write is left out."""
        *lines, _ = self._text("result.json").split("\n")
        return [json.loads(line) for line in lines]

    def _text(self, name: str) -> str:
        if name not in self.files:
            return ""
        with self.storage_filesystem.open_input_stream(f"{self.trial_fs_path}/{name}") as stream:
            return str(stream.read().decode())


def result_grid(store: Store) -> "ResultGrid":
    """Every trial that a run has begun, once: of one that is in several runs the attempt that completed, else the newest.

    Raises:
        StoreError: no trial has begun.
    """
    from ray.tune import ExperimentAnalysis, ResultGrid

    fs, root = filesystem(store.location)
    rows = {row["trial_id"]: row for row in store.trials().to_pylist()}
    trials = []
    for trial_id, attempt, results in _chosen(fs, f"{root}/tune"):
        row = rows.get(trial_id)
        trials.append(_trial(attempt, results, _checkpoint(store, trial_id, row), ended=row is not None))
    if not trials:
        raise StoreError(f"{store.location!r}: Ray Tune has no results there yet: no trial has begun.")
    # Given its trials, Tune does not open the state: the name only tells it which folder they are in.
    return ResultGrid(ExperimentAnalysis(f"{root}/tune/experiment_state.json", storage_filesystem=fs, trials=trials))


def _checkpoint(store: Store, trial_id: str, row: Row | None) -> str | None:
    """Where it is now: of a trial that still trains, the newest."""
    if row is None and (found := checkpoints.newest(store, trial_id)):
        return found.name
    name: str | None = row["checkpoint"] if row else None
    return name


def _chosen(fs: pafs.FileSystem, tune: str) -> Iterator[tuple[str, _Attempt, list[Row]]]:
    best: dict[str, tuple[tuple[bool, bool, str, bool], _Attempt, list[Row]]] = {}
    for attempt in _attempts(fs, tune):
        results = attempt.results()
        completed = bool(results) and bool(results[-1].get("done")) and results[-1].get("status") == "completed"
        # A run's name begins with its time.
        order = (completed, bool(results), attempt.experiment_dir_name, attempt.shrunk)
        if attempt.trial_id not in best or order > best[attempt.trial_id][0]:
            best[attempt.trial_id] = (order, attempt, results)
    for trial_id, (_, attempt, results) in sorted(best.items()):
        yield trial_id, attempt, results


def _attempts(fs: pafs.FileSystem, tune: str) -> list[_Attempt]:
    """One for each folder `<run>/<trial_id>` in which Tune has noted something of a trial."""
    found: dict[str, set[str]] = {}
    for info in fs.get_file_info(pafs.FileSelector(tune, allow_not_found=True, recursive=True)):
        folder, _, name = info.path.rpartition("/")
        if name in ("params.json", "result.json", "error.txt") and folder.count("/") == tune.count("/") + 2:
            found.setdefault(folder, set()).add(name)
    return [_Attempt(fs, folder, frozenset(names)) for folder, names in found.items()]


def _trial(attempt: _Attempt, results: list[Row], checkpoint: str | None, ended: bool) -> "Trial":
    """A trial as Tune has it in memory after a run; `stub`: its class is not looked for."""
    from ray.tune.experiment import Trial

    last: Row = results[-1] if results else {}
    trial = Trial("TuneTrial", config=attempt.config(), trial_id=last.get("trial_id", attempt.trial_id), stub=True)
    trial.storage = attempt
    trial.custom_trial_name = attempt.trial_id
    if results and checkpoint is not None:
        results[-1]["checkpoint"] = checkpoint
    for result in results:
        trial.update_last_result(result)
    if last.get("done"):
        trial.set_status(Trial.TERMINATED)
    elif ended and "error.txt" in attempt.files:
        trial.set_status(Trial.ERROR)
        trial.run_metadata.error_filename = "error.txt"
    return trial
