"""Which trial is next: the policy's word on the rows that there are, with a record of what it wanted and decided.

No Ray here: the Searcher passes on what Ray Tune asks, and a test can play all of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep.plan.planning import Plan, trial_entry
from sweep.policies import explain
from sweep.policies.policy import Policy, Request, Result, Wanted, decide
from sweep.policies.record import policy_of, result_of
from sweep.policies.standing import ByBounds
from sweep.space import Trial
from sweep.statistics.examples import Shared, shared
from sweep.store.columns import AGAIN
from sweep.store.loading import Sweep
from sweep.store.store import Row, Store


def judge(store: Store, margin: float) -> ByBounds:
    """A race's judge, by the held-out examples in the store as they are when it is asked."""

    def examples(losses: Mapping[str, float]) -> Shared:
        return shared(Sweep(store.location, store), losses, "tokens")

    return ByBounds(margin, examples)


@dataclass
class Chooser:
    """Asks the policy, again whenever a trial has ended.

    Attributes:
        candidates: every trial that the policy may want, by id.
        known: the results of trials that have ended, and are not to be tried again, by id.
        shrink, budget_gpu_hours: as for sweep.policies.policy.decide.
        told: those that hear what is wanted, whenever that is decided anew; what they raise leaves it undecided.
        running, begun: ids of the trials that run now, and of all that it had begun.
    """

    policy: Policy
    candidates: Mapping[str, Trial]
    known: dict[str, Result]
    shrink: bool = False
    budget_gpu_hours: float | None = None
    told: tuple[Callable[[Wanted], None], ...] = ()
    running: dict[str, None] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    _wanted: Wanted | None = None

    @classmethod
    def of(cls, planned: Plan, content: Mapping[str, Any], store: Store) -> "Chooser":
        """For a plan. Of trials whose ending may be another one now, nothing is known.

        Args:
            content: of sweep.json, as this command writes it.
        """
        config = planned.config
        candidates = {trial.trial_id: trial for trial in planned.trials}
        rows = (row for row in planned.rows.values() if row["status"] not in AGAIN)
        known = {row["trial_id"]: result_of(row, candidates.get(row["trial_id"])) for row in rows}
        policy = policy_of(content, planned.trials, judge(store, config.margin))
        return cls(policy, candidates, known, config.on_oom == "shrink", config.budget_gpu_hours)

    @property
    def wanted(self) -> Wanted:
        """What the policy wants now."""
        if self._wanted is None:
            known, budget = self.known.values(), self.budget_gpu_hours
            found = decide(self.policy, known, shrink=self.shrink, budget_gpu_hours=budget)
            for tell in self.told:
                tell(found)
            self._wanted = found
        return self._wanted

    def tell(self, *told: Callable[[Wanted], None]) -> None:
        """From now on these hear it, from what is wanted now on."""
        self.told, self._wanted = told, None

    def next(self, slots: float) -> Request | None:
        """The trial to begin next, of those that are wanted and then of those that may be; None where no slot is free."""
        if len(self.running) >= slots:
            return None
        requests = (*self.wanted.trials, *self.wanted.likely)
        found = next((one for one in requests if one.trial.trial_id not in self.running), None)
        if found is not None:
            self.running[found.trial.trial_id] = None
            self.begun.add(found.trial.trial_id)
        return found

    def ended(self, row: Row) -> None:
        """Takes in a trial's row. One that was stopped while it ran has not ended: who stopped it ends the sweep."""
        name = row["trial_id"]
        self.running.pop(name, None)
        self.known[name] = result_of(row, self.candidates.get(name))
        self._wanted = None

    def lost(self, trial_id: str) -> None:
        """It never began: it is wanted as before."""
        self.running.pop(trial_id, None)
        self.begun.discard(trial_id)


class Record:
    """Writes down what a policy wanted, in sweep.json, and what it decided: before any trial begins because of it.

    Args:
        content: of sweep.json, as it stands in the store.
    """

    def __init__(self, store: Store, content: Mapping[str, Any], candidates: Mapping[str, Trial]) -> None:
        self._store, self._content, self._candidates = store, dict(content), candidates
        self._decisions: list[Row] = []

    def __call__(self, wanted: Wanted) -> None:
        """Raises OSError where the store refuses."""
        have = {entry["trial_id"] for entry in self._content["trials"]}
        if new := [trial_entry(self._candidates[name]) for name in wanted.asked if name not in have]:
            content = {**self._content, "trials": [*self._content["trials"], *new]}
            self._store.write_sweep(content)
            self._content = content
        if (rows := explain.rows(wanted.decisions)) != self._decisions:
            self._store.write_decisions(rows)
            self._decisions = rows
