"""Policies asked as a runner asks them, without training anything: on slots, with ends in any order, crashes, early starts."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.policies.policy import Policy, Request, Result, Wanted, decide
from sweep.space import FULL, Rank, Trial


def trial(rank: Rank, value: float, seed: int) -> Trial:
    """A trial as far as a policy looks."""
    return Trial(f"{rank}-{value:g}-s{seed}", None if rank == FULL else rank, None, seed, {"value": value}, {}, "")


Ending = Callable[[Trial], Result]


def losses(table: Mapping[Any, float | str], spread: Mapping[int, float] | None = None) -> Ending:
    """Endings from losses by rank and value; a text is a status, and a pair that is not listed diverges.

    Args:
        spread: what each seed adds.
    """

    def ending(one: Trial) -> Result:
        found = table.get((one.rank, one.axes["value"]), "diverged")
        if isinstance(found, str):
            return Result(one.trial_id, found, gpu_hours=1.0, shrinkable=found == "oom")
        return Result(one.trial_id, "completed", found + (spread or {}).get(one.seed, 0.0), 1.0)

    return ending


def one_after_the_other(policy: Policy, ending: Ending, shrink: bool = False) -> tuple[Wanted, list[str]]:
    """What a driver with one slot ends with, and the trials that it trained, in order."""
    rows: dict[str, Result] = {}
    order = []
    while not (wanted := decide(policy, rows.values(), shrink=shrink)).done:
        request = wanted.trials[0]
        order.append(request.trial.trial_id + ("-shrunk" if request.shrink else ""))
        rows[request.trial.trial_id] = ended(request, ending)
    return wanted, order


def ended(request: Request, ending: Ending) -> Result:
    """A trial's row; a shrunk one's memory suffices."""
    row = ending(request.trial)
    return replace(row, status="completed", loss=3.0, shrunk=True, shrinkable=False) if request.shrink else row


@dataclass
class Runner:
    """A driver with slots, on which trials end in any order, and sometimes end without a row or are interrupted.

    Attributes:
        chance: what decides all of that.
        seen: the decisions of each time that the policy was asked.
    """

    policy: Policy
    ending: Ending
    slots: int
    chance: random.Random
    shrink: bool = False
    rows: dict[str, Result] = field(default_factory=dict)
    seen: list[Wanted] = field(default_factory=list)

    def run(self) -> Wanted:
        running: dict[str, Request] = {}
        while True:
            rows = list(self.rows.values())
            self.chance.shuffle(rows)
            wanted = decide(self.policy, rows, shrink=self.shrink)
            self.seen.append(wanted)
            if wanted.done:
                return wanted
            for request in (*wanted.trials, *wanted.likely):
                if len(running) < self.slots:
                    running.setdefault(request.trial.trial_id, request)
            self._end(running)

    def _end(self, running: dict[str, Request]) -> None:
        name = self.chance.choice(sorted(running))
        request = running.pop(name)
        fate = self.chance.random()
        if fate < 0.1:
            return  # its process was killed: no row, and it is started again
        if fate < 0.2:
            self.rows[name] = Result(name, "interrupted", shrunk=request.shrink)
        else:
            self.rows[name] = ended(request, self.ending)
