"""As many restarts as were asked for, whatever Tune counts."""

from types import SimpleNamespace
from typing import Any

from sweep.run.restarts import Restarts


class TuneTrial(SimpleNamespace):
    """What Ray Tune keeps of a trial, and how it counts."""

    def __init__(self, name: str) -> None:
        super().__init__(trial_id=name, failures=0, temporary_state=SimpleNamespace(ray_actor=None))

    def starts_in(self, process: str, restarts: Restarts) -> "TuneTrial":
        self.temporary_state.ray_actor = process
        restarts.started(self)
        return self

    def dies(self, restarts: Restarts) -> bool:
        """Whether Tune starts it again."""
        self.failures += 1
        again: Any = self.failures <= self.max_failures
        if again:
            restarts.restarted(self)
        return bool(again)


def speaks(trial: TuneTrial, restarts: Restarts) -> None:
    restarts.heard(trial)


def test_a_fresh_process_may_die_as_often_as_was_asked() -> None:
    for allowed in range(3):
        restarts, trial = Restarts(allowed), TuneTrial("a")
        for process in range(allowed):
            assert trial.starts_in(f"process {process}", restarts).dies(restarts)
        assert not trial.starts_in("the last", restarts).dies(restarts)


def test_a_used_process_that_ends_itself_since_it_is_not_clean_is_not_counted() -> None:
    restarts = Restarts(0)
    speaks(TuneTrial("a").starts_in("used", restarts), restarts)
    trial = TuneTrial("b").starts_in("used", restarts)
    assert trial.dies(restarts)
    speaks(trial.starts_in("fresh", restarts), restarts)
    assert not trial.dies(restarts)


def test_a_used_process_that_dies_after_its_first_word_is_counted() -> None:
    restarts = Restarts(0)
    speaks(TuneTrial("a").starts_in("used", restarts), restarts)
    trial = TuneTrial("b").starts_in("used", restarts)
    speaks(trial, restarts)
    assert not trial.dies(restarts)


def test_both_in_one_trial() -> None:
    restarts = Restarts(1)
    speaks(TuneTrial("a").starts_in("used", restarts), restarts)
    trial = TuneTrial("b").starts_in("used", restarts)
    assert trial.dies(restarts)
    speaks(trial.starts_in("fresh", restarts), restarts)
    assert trial.dies(restarts)
    speaks(trial.starts_in("another", restarts), restarts)
    assert not trial.dies(restarts)
