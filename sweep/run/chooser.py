"""Chooses the next trial by asking the policy, and records what the policy requested and decided.

Independent of Ray: the Searcher forwards Ray Tune's calls, so tests can drive it directly.
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
    """A race's judge that reads the held-out examples from the store when it is called."""

    def examples(losses: Mapping[str, float]) -> Shared:
        return shared(Sweep(store.location, store), losses, "tokens")

    return ByBounds(margin, examples)


@dataclass
class Chooser:
    """Asks the policy again whenever a trial has ended.

    Attributes:
        candidates: every trial that the policy may request, by id.
        known: results of trials that have ended and will not be retried, by id.
        shrink, budget_gpu_hours: as for sweep.policies.policy.decide.
        listeners: called with each new decision; if one raises, the decision is made again at the next call.
        running, begun: ids of the trials that are running, and of all that were started.
    """

    policy: Policy
    candidates: Mapping[str, Trial]
    known: dict[str, Result]
    shrink: bool = False
    budget_gpu_hours: float | None = None
    listeners: tuple[Callable[[Wanted], None], ...] = ()
    running: dict[str, None] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    _wanted: Wanted | None = None

    @classmethod
    def of(cls, planned: Plan, content: Mapping[str, Any], store: Store) -> "Chooser":
        """The chooser for a plan. Results of trials that will be retried are left out.

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
            for listener in self.listeners:
                listener(found)
            self._wanted = found
        return self._wanted

    def notify(self, *listeners: Callable[[Wanted], None]) -> None:
        """Sets the listeners, which are called first with what the policy wants now."""
        self.listeners, self._wanted = listeners, None

    def next(self, slots: float) -> Request | None:
        """The trial to start next: a requested one, otherwise a likely one; None if no slot is free or nothing is left."""
        if len(self.running) >= slots:
            return None
        requests = (*self.wanted.trials, *self.wanted.likely)
        found = next((one for one in requests if one.trial.trial_id not in self.running), None)
        if found is not None:
            self.running[found.trial.trial_id] = None
            self.begun.add(found.trial.trial_id)
        return found

    def ended(self, row: Row) -> None:
        """Records the row of a trial that ended. (An interrupted one has not: whoever stopped it ends the sweep.)"""
        name = row["trial_id"]
        self.running.pop(name, None)
        self.known[name] = result_of(row, self.candidates.get(name))
        self._wanted = None

    def never_started(self, trial_id: str) -> None:
        """Takes back a trial that never started: it is requested as before."""
        self.running.pop(trial_id, None)
        self.begun.discard(trial_id)


def is_recorded(wanted: Wanted, store: Store) -> bool:
    """Whether sweep.json lists the trials that are wanted, and decisions/ says why: a driver that was killed may have left out either."""
    listed_already = {entry["trial_id"] for entry in store.read_sweep()["trials"]}
    texts = [row["text"] for row in explain.rows(wanted.decisions)]
    return listed_already.issuperset(wanted.asked) and store.decisions()["text"].to_pylist() == texts


class Record:
    """Writes what a policy requested to sweep.json, and its decisions, before any trial starts because of them.

    Args:
        content: the content of sweep.json in the store.
    """

    def __init__(self, store: Store, content: Mapping[str, Any], candidates: Mapping[str, Trial]) -> None:
        self._store, self._content, self._candidates = store, dict(content), candidates
        self._decisions: list[Row] = []

    def __call__(self, wanted: Wanted) -> None:
        """Raises OSError if the store cannot be written to."""
        have = {entry["trial_id"] for entry in self._content["trials"]}
        if new := [trial_entry(self._candidates[name]) for name in wanted.asked if name not in have]:
            content = {**self._content, "trials": [*self._content["trials"], *new]}
            self._store.write_sweep(content)
            self._content = content
        if (rows := explain.rows(wanted.decisions)) != self._decisions:
            self._store.write_decisions(rows)
            self._decisions = rows
