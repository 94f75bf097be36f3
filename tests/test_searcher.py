"""What Ray Tune is told when it asks for a trial: what to begin, nothing now, or that it is over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from sweep.errors import LockLost, StoreError
from sweep.policies.grid import Grid
from sweep.policies.policy import Request
from sweep.run.chooser import Chooser
from sweep.run.runner import Resources, fits
from sweep.run.searcher import PolicySearcher
from sweep.run.watch import Watch
from sweep.space import Trial
from sweep.store.store import Row

TRIALS = [Trial(f"r{rank}", rank, 16.0, 0, {}, {}, "") for rank in (8, 32, 128)]


@dataclass
class Tune:
    """Asks as Ray Tune does, of two slots, with rows that a test makes."""

    rows: dict[str, Row | None] = field(default_factory=dict)
    refused: Sequence[str] = ()
    error: Exception | None = None
    now: float = 0.0
    stop: Any = field(default_factory=lambda: SimpleNamespace(stopped=False, away=False, enough=False))

    def __post_init__(self) -> None:
        chooser = Chooser(Grid(tuple(TRIALS)), {trial.trial_id: trial for trial in TRIALS}, {})
        given = chooser, lambda: 2, self._row, self._config, self._refused
        self.searcher = PolicySearcher(*given, self.stop, 10.0, lambda: self.now)
        self._asked = 0

    def ask(self) -> Any:
        self._asked += 1
        found = self.searcher.suggest(f"t{self._asked}")
        return found["trial_id"] if isinstance(found, dict) else found

    def ended(self, number: int, row: Row | None) -> None:
        self.rows[TRIALS[number - 1].trial_id] = row
        self.searcher.on_trial_complete(f"t{number}", error=row is None)

    def _row(self, trial_id: str) -> Row | None:
        if self.error:
            raise self.error
        return self.rows[trial_id]

    def _config(self, request: Request) -> Row:
        return {"trial_id": request.trial.trial_id}

    def _refused(self, told: Row) -> Row | None:
        return row(told["trial_id"], "rejected") if told["trial_id"] in self.refused else None


def row(trial_id: str, status: str = "completed") -> Row:
    return {"trial_id": trial_id, "status": status, "eval_loss": 2.0, "train_loss": None, "micro_batch": None}


def test_it_is_asked_until_no_slot_is_free_and_again_once_one_is() -> None:
    tune = Tune()
    assert [tune.ask(), tune.ask(), tune.ask()] == ["r8", "r32", None]
    tune.ended(1, row("r8"))
    assert [tune.ask(), tune.ask()] == ["r128", None]


def test_it_is_over_when_all_have_ended_and_not_before() -> None:
    tune = Tune()
    for number, name in enumerate(["r8", "r32", "r128"], 1):
        assert tune.ask() == name
        tune.ended(number, row(name, "failed"))
    assert tune.ask() == Searcher.FINISHED and tune.stop.enough


def test_a_trial_that_never_began_is_asked_for_again() -> None:
    tune = Tune()
    assert [tune.ask(), tune.ask()] == ["r8", "r32"]
    tune.ended(1, None)
    assert tune.ask() == "r8"


def test_one_that_fits_no_card_is_passed_over() -> None:
    tune = Tune(refused=["r8", "r128"])
    assert [tune.ask(), tune.ask()] == ["r32", None]


@pytest.mark.parametrize("error", [OSError("no route"), StoreError("a file cannot be read")])
def test_a_store_that_refuses_is_waited_for_and_then_ends_the_sweep(error: Exception) -> None:
    tune = Tune()
    assert tune.ask() == "r8"
    tune.ended(1, row("r8"))
    tune.error = error
    assert tune.ask() is None
    tune.now, tune.error = 9.0, None
    assert tune.ask() == "r32", "it came back, and nothing is lost"
    tune.searcher.on_trial_complete("t3")
    tune.rows["r32"], tune.error = row("r32"), error
    assert tune.ask() is None
    tune.now = 19.0
    assert tune.ask() == Searcher.FINISHED and tune.stop.away


def test_who_lost_the_lock_stops_at_once() -> None:
    tune = Tune(error=LockLost("another driver"))
    tune.ask()
    tune.ended(1, row("r8"))
    with pytest.raises(LockLost):
        tune.ask()


def test_after_an_interrupt_nothing_is_begun() -> None:
    tune = Tune()
    tune.stop.stopped = True
    assert tune.ask() == Searcher.FINISHED


def test_tune_keeps_nothing_of_it() -> None:
    tune = Tune()
    assert tune.searcher.__getstate__() == {}


def test_as_many_run_at_once_as_fit_on_each_node_that_is_there() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 4.0}},
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
    ]
    assert fits(nodes, Resources(1, 1, 4)) == 1 + 3
    assert fits(nodes, Resources(0.5, 1, 4)) == 2 + 3
    assert fits(nodes, Resources(0, 2, 4)) == 2 + 1 + 4


def test_a_process_that_died_before_its_trial_began_is_no_failure_but_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.run.ray_internals.last_error", lambda trial: "its process died")
    said: list[tuple[str, str]] = []
    listener: Any = SimpleNamespace(ended=lambda *found: said.append(found))
    config: Any = SimpleNamespace(max_failures=2, settings={})
    store: Any = None
    watch, trial = Watch(listener, TRIALS, store, config), SimpleNamespace(config={"trial": {"trial_id": "r8"}})
    for _ in range(2):
        watch.on_trial_error(0, [], trial)
        assert watch.lost == {"r8"} and not said and not watch.seen.errors
        watch.lost.clear()
    watch.on_trial_error(0, [], trial)
    assert not watch.lost and said == [("r8", "failed")] and "r8" in watch.seen.errors
