"""What we use of Ray that it documents nowhere: a test for each says what broke when a version of Ray has changed it."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.experiment import Trial

from sweep.run import ray_internals

PROJECT = Path(__file__).parents[1]
SMALL = {PROJECT / "sweep" / "run" / "ray_internals.py", PROJECT / "sweep" / "store" / "result_grid.py"}
SOURCES = sorted({*(PROJECT / "sweep").rglob("*.py"), *(PROJECT / "trainables").rglob("*.py")})
# Attributes of Tune's trials, and an argument of theirs.
UNDOCUMENTED = re.compile(
    r"temporary_state|run_metadata|ray_actor|metric_n_steps|\.max_failures = |error_file\b|stub=|checkpoint_manager|_storage\b"
)


class Storage:
    """What a trial's storage context is to Tune, as far as its errors go."""

    def __init__(self, folder: Path) -> None:
        self.trial_driver_staging_path = str(folder)


@pytest.fixture
def trial(tmp_path: Path) -> Any:
    made = Trial("any", stub=True)
    made.storage = Storage(tmp_path)
    return made


def test_a_trial_says_which_process_it_was_given(trial: Any) -> None:
    """`Trial.temporary_state.ray_actor`: without it, used processes that end themselves count as failures."""
    trial.set_ray_actor(None)
    none = ray_internals.process_of(trial)
    trial.temporary_state.ray_actor = "an actor"
    assert ray_internals.process_of(trial) == hash("an actor") != none


def test_a_trials_own_number_of_restarts_is_what_tune_goes_by(trial: Any) -> None:
    """`Trial.max_failures`: without it, --max_failures counts processes that only were not clean."""
    for allowed in (0, 2):
        trial.run_metadata.num_failures = 0
        ray_internals.allow_failures(trial, allowed)
        started_again = 0
        while True:
            trial.handle_error(ray.exceptions.RayActorError())
            if not trial.should_recover():
                break
            started_again += 1
        assert started_again == allowed


def test_the_running_means_of_a_trial_are_there_and_are_freed(trial: Any) -> None:
    """`Trial.metric_n_steps`: without it, the driver and its state grow by 40 kB a trial."""
    for loss in (2.0, 1.0):
        trial.update_last_result({"loss": loss, "step": 1})
    assert trial.run_metadata.metric_n_steps["loss"]
    ray_internals.forget_running_means(trial)
    assert trial.run_metadata.metric_n_steps == {} and trial.metric_analysis["loss"]["min"] == 1.0


def test_the_last_failure_of_a_trial_is_read_from_what_tune_notes(trial: Any) -> None:
    """`Trial.error_file` and its headings: without them, rows say nothing of how a process died."""
    assert ray_internals.last_error(trial) == "its process died"
    for text in ("first", "second\nSome common causes include: this and that"):
        trial.handle_error(ray.exceptions.RayTaskError("step", text, ValueError(text)))
    assert "second" in (said := ray_internals.last_error(trial)) and "first" not in said
    assert "common causes" not in said and said.startswith("2 (occurred at ")


def test_rays_own_word_for_a_host_that_ran_out_of_memory(trial: Any) -> None:
    """Its memory monitor's message is compiled into raylet; the exception's name is that of its class."""
    raylet = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    assert b"node running low on memory" in raylet.read_bytes()
    monitor = (
        "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1) was 30.1GB / 31.0GB"
    )
    used = "was killed due to the node running low on memory. The node was 30.1GB used / 31.0GB limit"
    kind = ray.exceptions.OutOfMemoryError
    error = f"{kind.__module__}.{kind.__qualname__}: in other words"
    said = [ray_internals.says_out_of_memory(text) for text in (monitor, used, error, "out of memory", "")]
    assert said == ["", "was 30.1GB used / 31.0GB limit", "", None, None]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_other_module_uses_anything_of_rays_that_is_private_or_undocumented(path: Path) -> None:
    text = path.read_text()
    names = [
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([f"{node.module}.{one.name}" for one in node.names] if isinstance(node, ast.ImportFrom)
                     else [one.name for one in node.names])
    ]  # fmt: skip
    assert not [name for name in names if name.startswith("ray.") and "._" in name]
    if path not in SMALL and re.search(r"^\s*(import|from) ray\b", text, flags=re.M):
        assert not UNDOCUMENTED.findall(text)
