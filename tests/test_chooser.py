"""What the driver trains next and writes down of it: the same whatever the slots, the order of endings and the restarts."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis, decisions
from sweep.config.layers import resolve
from sweep.config.sweep_config import SweepConfig
from sweep.errors import OtherSweep
from sweep.plan import planning
from sweep.policies.policy import Request
from sweep.run.chooser import Chooser, Record
from sweep.store.store import Row, Store
from trainables.synthetic import EXAMPLES, TOKENS, evals, loss_at

TRUTH = ("--enough_rank", "8", "--best_rate", "1e-3", "--rate_slope", "0.02", "--run_noise", "0.001")
RACE = ("--lora_r", "2", "8", "32", "--tune", "learning_rate", "--race", "--diverges_above", "5e-3", *TRUTH)


def configured(location: Path, *words: str) -> SweepConfig:
    place = ("--storage_path", str(location), "--name", "one", "--trainable", "trainables.synthetic:Synthetic")
    config, problems = resolve([*place, *words], False)
    assert config is not None and not problems, problems
    return config


@dataclass
class Driver:
    """Plays a command on a store of its own: trials end in any order, and after so many endings the driver is killed.

    Attributes:
        slots: how many trials run at once.
        fail: ids of trials whose memory runs out until they are shrunk.
    """

    location: Path
    words: Sequence[str]
    slots: float = 1
    seed: int = 0
    fail: Sequence[str] = ()
    requests: list[Request] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(f"{self.location}/one")

    def run(self, endings: float = float("inf")) -> "Driver":
        config = configured(self.location, *self.words)
        planned = planning.make_plan(config, self.store, {})
        before = self.store.read_sweep() if self.store.exists("sweep.json") else {}
        content = planning.merge(before, planning.content(config, planned.trials, {}))
        self.store.write_sweep(content)
        chooser = Chooser.of(planned, content, self.store)
        chooser.notify(Record(self.store, content, chooser.candidates))
        running: list[Request] = []
        draw = random.Random(self.seed)
        while not chooser.wanted.done and endings > 0:
            while (found := chooser.next(self.slots)) is not None:
                running.append(found)
                self.requests.append(found)
            ended = running.pop(draw.randrange(len(running)))
            chooser.ended(self._trained(ended))
            endings -= 1
        return self

    def _trained(self, request: Request) -> Row:
        trial = request.trial
        if trial.trial_id in self.fail and not request.shrink:
            row: Row = {"status": "oom"}
        elif trial.settings.get("learning_rate", 0) > trial.settings.get("diverges_above", 1):
            row = {"status": "diverged"}
        else:
            rows = evals(trial.settings, loss_at(50, trial.settings))
            loss = sum(one["loss_sum"] for one in rows) / (EXAMPLES * TOKENS)
            self.store.write_evals(trial.trial_id, [{**one, "trial_id": trial.trial_id} for one in rows])
            row = {"status": "completed", "eval_loss": loss, "train_loss": loss, "train_runtime": 36.0}
        micro = {"micro_batch": 4} if request.shrink else {}
        self.store.write_trial({**trial.columns(), **row, **micro}, trial.axis_columns())
        found = self.store.trial(trial.trial_id)
        assert found is not None
        return found

    def outcome(self) -> tuple[Any, ...]:
        """What was decided, and what the answer says, but for the order of trials in its lists."""
        found = analysis.load(self.store.location)
        said = json.loads(analysis.render(analysis.answer(found), "json"))
        return self.store.decisions().to_pylist(), said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("one"), RACE).run()


def test_a_race_with_a_tuned_rate_names_the_cheapest_rank_that_is_enough_in_part_of_the_grid(
    undisturbed: Driver,
) -> None:
    recorded, said = undisturbed.outcome()
    assert recorded[-1]["kind"] == "done" and recorded[-1]["text"].startswith("decided with")
    assert "r=8" in said["recommendation"]["label"] and "0.001" in said["recommendation"]["label"]
    config = configured(undisturbed.location, *RACE)
    assert len(undisturbed.requests) < len(config.trials()) / 10
    assert not said["partial"], "what was never wanted is not missing"


@pytest.mark.parametrize(("slots", "seed"), [(2, 0), (3, 1), (8, 2)])
def test_more_slots_in_any_order_decide_and_answer_the_same(
    tmp_path: Path, undisturbed: Driver, slots: int, seed: int
) -> None:
    found = Driver(tmp_path, RACE, slots, seed).run()
    assert found.outcome() == undisturbed.outcome()
    assert len(found.requests) > len(undisturbed.requests), "some were begun early"


def test_killed_and_started_again_with_other_slots_it_decides_and_answers_the_same(
    tmp_path: Path, undisturbed: Driver
) -> None:
    driver = Driver(tmp_path, RACE)
    for endings in (1, 3, 2, 4):
        driver.slots, driver.seed = 1 + endings, endings
        driver.run(endings)
        part = driver.store.decisions().to_pylist()
        assert part == undisturbed.store.decisions().to_pylist()[: len(part)], "what is written is a beginning"
    driver.slots = 2
    assert driver.run().outcome() == undisturbed.outcome()


def test_an_answer_of_what_was_begun_early_would_depend_on_the_slots(
    tmp_path: Path, undisturbed: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deliberate defect: an answer that looks at every row."""
    found = Driver(tmp_path, RACE, 8, 2).run()
    monkeypatch.setattr("sweep.store.loading.Sweep.records", lambda self: self._trial_table.to_pylist())
    assert found.outcome()[1] != undisturbed.outcome()[1]


def test_decisions_that_looked_at_early_rows_would_depend_on_the_slots(
    tmp_path: Path, undisturbed: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deliberate defect: a judge that sees every row of its arms."""
    monkeypatch.setattr("sweep.policies.policy._answer", lambda trials, rows: dict(rows))
    found = Driver(tmp_path, RACE, 8, 2).run()
    assert found.outcome()[0] != undisturbed.outcome()[0]


def test_only_what_was_wanted_is_listed_as_a_trial_of_the_sweep(tmp_path: Path) -> None:
    found = Driver(tmp_path, RACE, 3).run()
    listed = {entry["trial_id"] for entry in found.store.read_sweep()["trials"]}
    begun = {one.trial.trial_id for one in found.requests}
    assert listed < begun
    assert found.store.trial_names() < begun | listed


def test_a_plain_grid_is_every_trial_in_its_order_and_a_second_command_runs_what_is_missing(tmp_path: Path) -> None:
    words = ("--lora_r", "8", "32", "--seeds", "0", "1")
    driver = Driver(tmp_path, words).run(1)
    driver.run()
    driver.words = (*words, "2")
    driver.run()
    config = configured(tmp_path, *driver.words)
    assert [one.trial.trial_id for one in driver.requests] == [trial.trial_id for trial in config.trials()]


def test_a_trial_that_ran_out_of_memory_is_asked_for_again_shrunk_and_once(tmp_path: Path) -> None:
    words = ("--lora_r", "8", "32", "--on_oom", "shrink")
    first, second = configured(tmp_path, *words).trials()
    driver = Driver(tmp_path, words, fail=[first.trial_id]).run()
    asked = [(one.trial.trial_id, one.shrink) for one in driver.requests]
    assert asked == [(first.trial_id, False), (first.trial_id, True), (second.trial_id, False)]
    assert [row["kind"] for row in driver.store.decisions().to_pylist()] == ["shrunk", "done"]


def test_a_budget_ends_it_and_a_larger_one_goes_on(tmp_path: Path, undisturbed: Driver) -> None:
    driver = Driver(tmp_path, (*RACE, "--budget_gpu_hours", "0.035")).run()
    last = driver.store.decisions().to_pylist()[-1]
    assert last["kind"] == "done" and "0.04 of 0.035 GPU-hours are spent" in last["text"]
    assert len(driver.requests) == 4, "36 s each"
    driver.words = (*RACE, "--budget_gpu_hours", "5")
    assert driver.run().outcome() == undisturbed.outcome()


def test_more_seeds_and_a_wider_ladder_extend_a_race(tmp_path: Path) -> None:
    driver = Driver(tmp_path, (*RACE, "--max_seeds", "1")).run()
    before = {one.trial.trial_id for one in driver.requests}
    driver.requests.clear()
    driver.words = (*RACE, "--ladder", "1e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2")
    driver.run()
    assert not before & {one.trial.trial_id for one in driver.requests}, "nothing is trained twice"


@pytest.mark.parametrize("there", [RACE, RACE[:4]])
def test_a_sweep_with_another_tuned_setting_or_none_is_refused(tmp_path: Path, there: tuple[str, ...]) -> None:
    Driver(tmp_path, there).run(2)
    other = tuple(word.replace("learning_rate", "weight_decay") for word in RACE)
    ladder = ("--ladder", "0.01", "0.1")
    with pytest.raises(OtherSweep, match=r"tune: (learning_rate|nothing) there, weight_decay now"):
        Driver(tmp_path, (*other, *ladder)).run()


# --- python -m sweep.decisions --------------------------------------------------------------------------------------------


def test_decisions_are_replayed_and_explained(undisturbed: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert decisions.main([undisturbed.store.location]) == 0
    said = capsys.readouterr().out
    assert said.startswith("  1. r=32: learning_rate 0.0003 first.\n  2. r=32: learning_rate 0.001 next, beside 0.0003")
    assert "Replaying the trials' rows gives the same decisions." in said
    assert decisions.main([undisturbed.store.location, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["done"] and not found["contradictions"]
    assert found["decisions"][1]["numbers"]["losses"].keys() == {"0.0003"}


def test_a_row_that_was_changed_afterwards_contradicts_the_decisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = Driver(tmp_path, RACE).run()
    first = driver.requests[0].trial
    row = driver.store.trial(first.trial_id)
    assert row is not None
    loss = row["eval_loss"] * 1.1
    driver.store.write_trial({**row, "eval_loss": loss}, first.axis_columns())
    assert decisions.main([driver.store.location]) == 1
    assert "decision 2 was 'r=32: learning_rate 0.001 next, beside 0.0003" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("policy"), "recorded no decisions"),
        (
            lambda content: content["policy"].pop("lora_r"),
            "does not describe how trials were chosen (KeyError: 'lora_r')",
        ),
    ],
)
def test_a_sweep_without_a_policy_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    driver = Driver(tmp_path, RACE).run(1)
    content = driver.store.read_sweep()
    change(content)
    driver.store.write_sweep(content)
    assert decisions.main([driver.store.location]) == 2
    assert message in capsys.readouterr().err
    assert decisions.main([str(tmp_path / "nowhere")]) == 2


def test_what_a_trial_took_counts_a_cpus_slot_as_a_gpu() -> None:
    from datetime import UTC, datetime, timedelta

    from sweep.policies.record import result_of

    now = datetime.now(UTC)
    row = {"trial_id": "r8", "status": "failed", "started_at": now, "ended_at": now + timedelta(hours=2)}
    assert result_of(row, None).gpu_hours == 2
    assert result_of({**row, "train_runtime": 1800.0}, None).gpu_hours == 0.5
    assert result_of({**row, "train_runtime": 1800.0, "gpus_per_trial": 0.5}, None).gpu_hours == 0.25
    assert replace(result_of(row, None), gpu_hours=0) == replace(
        result_of({**row, "eval_loss": None}, None), gpu_hours=0
    )
    assert result_of({**row, "status": "completed", "train_loss": float("nan")}, None).status == "diverged"
