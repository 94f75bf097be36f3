"""The class that Ray Tune calls: short, public parts of Ray alone, and nothing that an attempt does not do by itself."""

import ast
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.store.store import Row, Store
from sweep.trial import tune_trial
from sweep.trial.spec import SweepSpec, TrialSpec
from sweep.trial.tune_trial import TuneTrial
from tests.attempts import NAME, sweep_of
from trainables.synthetic import Synthetic

OTHER = "r4-s0"
SOURCE = Path(tune_trial.__file__)


class InHand(TuneTrial):
    """The class as Tune would make it."""

    sweep: SweepSpec

    def setup(self, config: Row) -> None:  # type: ignore[override]
        super().setup(config, Synthetic, None, self.sweep)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InHand]:
    for name in ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_VISIBLE_DEVICES"):  # which a worker changes for itself
        monkeypatch.setenv(name, str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    store = Store(str(tmp_path / "sweep"))
    sweep = sweep_of(store, tmp_path / "spool", max_steps=3, save_every=1)
    settings = {**sweep.trials[NAME].settings, "max_steps": 10**6, "step_time_s": 0.01}
    other = TrialSpec(OTHER, settings, {"trial_id": OTHER, "lora_r": 4}, {}, {})
    monkeypatch.setattr(InHand, "sweep", sweep_with(sweep, other), raising=False)
    trial = InHand({"trial": {"trial_id": NAME}})
    yield trial
    trial.cleanup()
    assert not list((tmp_path / "tmp").iterdir())
    assert threading.active_count() == 1 or not [one for one in threading.enumerate() if one.name == "training"]


def sweep_with(sweep: SweepSpec, other: TrialSpec) -> SweepSpec:
    return SweepSpec(**{**vars(sweep), "trials": {**sweep.trials, other.trial_id: other}})


def results(trial: TuneTrial) -> list[Row]:
    found: list[Row] = []
    while not (found and found[-1].get("done")):
        found.append(trial.step())
    return found


def test_tune_hears_of_the_claim_the_rows_and_the_ending_and_uses_the_process_again(
    trial: InHand, tmp_path: Path
) -> None:
    found = results(trial)
    assert found[0] == {"attempt": 1} and found[-2]["step"] == 3
    last: dict[str, Any] = found[-1]
    assert (last["status"], last["step"], last["checkpoint"]) == ("completed", 3, f"checkpoints/{NAME}/final")
    assert trial.reset_config({"trial": {"trial_id": OTHER}})
    assert trial.step() == {"attempt": 1}
    while not trial.step().get("step"):
        pass
    trial.cleanup()  # as Tune does to stop it
    rows = {row["trial_id"]: row for row in Store(str(tmp_path / "sweep")).trials().to_pylist()}
    assert {name: (row["status"], row["process_reused"]) for name, row in rows.items()} == {
        NAME: ("completed", False),
        OTHER: ("interrupted", True),
    }
    assert "Ray Tune stopped it" in Store(str(tmp_path / "sweep")).read_log(OTHER)


def test_a_process_that_is_not_clean_ends_itself_before_the_next_trial(
    trial: InHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results(trial)
    monkeypatch.setattr("sweep.trial.process.unclean", lambda *given: ["the last trial's Model is still alive"])

    class Exited(BaseException):
        """Stands for the end of the actor."""

    def exits() -> None:
        raise Exited

    monkeypatch.setattr("ray.actor.exit_actor", exits)
    trial.reset_config({"trial": {"trial_id": OTHER}})
    with pytest.raises(Exited):
        trial.step()
    store = Store(str(tmp_path / "sweep"))
    assert f"({os.getpid()}) is not reused, since it is not clean" in store.read_log(OTHER)
    assert store.attempts(OTHER) == 0


def test_the_class_is_short_and_uses_no_name_that_is_private() -> None:
    (made,) = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.ClassDef)]
    assert made.end_lineno is not None and made.end_lineno - made.lineno < 80
    named = {node.attr for node in ast.walk(made) if isinstance(node, ast.Attribute)}
    named |= {node.name for node in ast.walk(made) if isinstance(node, ast.FunctionDef)}
    assert not {name for name in named if name.startswith("_")}
    assert {"setup", "step", "reset_config", "cleanup"} <= named
    assert not named & {"save_checkpoint", "load_checkpoint", "save"}
