"""`--race`: further seeds only where they can still change the answer.

Each look takes one more seed of every configuration in the race. Those that are shown to be beyond the margin, or so far
worse that no seed could make up for it, leave the race. The judge uses the answer's own bounds (standing.py), so the race
and the answer never disagree.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.policies.policy import Decision, Done, Result, Results, Step, ask
from sweep.space import FULL, Rank, Trial

Verdict = Literal["within", "worse", "undecided"]


@dataclass(frozen=True)
class Arm:
    """A configuration in the race: its trials, one for each seed, in the order in which they are requested."""

    label: str
    rank: Rank
    trials: tuple[Trial, ...]
    value: float | None = None


@dataclass(frozen=True)
class Place:
    """One configuration's state in the race.

    Attributes:
        out: whether more of its seeds cannot change the answer.
        numbers: difference, lower, upper, basis, seeds and verdict, as in the answer; JSON values.
    """

    verdict: Verdict
    out: bool
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """The state of all of them, in the order of the arms; None for one without a loss.

    Attributes:
        pick: index of the recommended arm; None if no arm has a loss.
        decided: whether the pick is shown to be within the margin, for the configuration and not only its models.
        nearest: indices of the arms by measured loss, lowest first.
    """

    places: tuple[Place | None, ...]
    pick: int | None
    decided: bool
    nearest: tuple[int, ...]


# Given the arms, cheapest first, the results of their trials, and how many configurations the arms were chosen from (0: not
# chosen), returns their standing. The same arguments give the same standing.
Judge = Callable[[Sequence[Arm], Results, int], Standing]


def settled(standing: Standing) -> bool:
    """Whether the pick is decided, and no cheaper one can still replace it.

    Stopping at the first decided pick gave the right rank in 0.31 of simulated plateaus, this rule in 0.75 (1,000 sweeps of
    benchmarks.race's noise `seeds`, 150 examples). Looking after every seed makes wrong picks no more frequent than a single
    look at all ten: 0.035 and 0.033 in the case that is most prone to them.
    """
    if not standing.decided or standing.pick is None:
        return False
    return all(place is None or place.out for place in standing.places[: standing.pick])


def _label(trial: Trial) -> str:
    rank = str(trial.rank) if trial.lora_r is None else f"r={trial.lora_r}"
    return " ".join([rank, *(f"{key}={value}" for key, value in trial.axes.items())])


@dataclass(frozen=True)
class Race:
    """A race of configurations.

    Attributes:
        arms: cheapest first.
        tried: how many configurations they were chosen from; 0 if none were chosen.
    """

    arms: tuple[Arm, ...]
    judge: Judge
    tried: int = 0

    @classmethod
    def of(cls, trials: Sequence[Trial], judge: Judge) -> "Race":
        """A race of a grid's configurations: the smallest rank first, full fine-tuning last, seeds in the grid's order."""
        members: dict[tuple[Rank, float | None, str], list[Trial]] = {}
        for trial in trials:
            members.setdefault((trial.rank, trial.lora_alpha, repr(trial.axes)), []).append(trial)
        arms = [Arm(_label(own[0]), own[0].rank, tuple(own)) for own in members.values()]
        return cls(tuple(sorted(arms, key=lambda arm: math.inf if arm.rank == FULL else arm.rank)), judge)

    def steps(self) -> Generator[Step, Results | None, None]:
        looks = max((len(arm.trials) for arm in self.arms), default=0)
        running = list(range(len(self.arms)))
        known: dict[str, Result] = {}
        for seeds in range(1, looks + 1):
            known.update((yield from self._more(running, seeds)))
            standing = self.judge(self.arms, known, self.tried)
            yield self._look(seeds, running, standing)
            if settled(standing):
                assert standing.pick is not None
                yield Done(f"decided with {seeds} seeds: {self.arms[standing.pick].label} is within the margin")
                return
            if standing.pick is None:
                yield Done("no configuration has a loss that can be compared")
                return
            left = self._leaving(running, standing)
            for place in left:
                yield self._left(place, standing, seeds)
            running = [place for place in running if place not in left]
        yield Done(f"undecided with {looks} seeds, the most there may be")

    def _more(self, running: Sequence[int], seeds: int) -> Generator[Step, Results | None, Results]:
        """One more seed of each arm in the race."""
        wanted, next_ones = (
            [self.arms[place].trials[index] for place in running if index < len(self.arms[place].trials)]
            for index in (seeds - 1, seeds)
        )
        after = sum(max(0, len(self.arms[place].trials) - seeds) for place in running)
        return (yield from ask(wanted, next_ones, after))

    def _leaving(self, running: Sequence[int], standing: Standing) -> list[int]:
        """Arms that are out. The pick and its nearest rival stay: a claim needs two to compare."""
        kept = [place for place in standing.nearest if place in running and place != standing.pick][:1]
        kept += [] if standing.pick is None else [standing.pick]
        return [place for place in running if self._out(standing.places[place]) and place not in kept]

    def _out(self, place: Place | None) -> bool:
        return place is None or place.out

    def _look(self, seeds: int, running: Sequence[int], standing: Standing) -> Decision:
        names = [self.arms[place].label for place in running]
        pick = None if standing.pick is None else self.arms[standing.pick]
        text = f"{seeds} seed{'' if seeds == 1 else 's'} of {', '.join(names)}: "
        text += "none has a loss" if pick is None else f"{pick.label}, {'decided' if standing.decided else 'undecided'}"
        places = {
            arm.label: None if place is None else place.numbers
            for arm, place in zip(self.arms, standing.places, strict=True)
        }
        numbers = {"seeds": seeds, "running": names, "decided": standing.decided, "places": places}
        return Decision("look", text, pick.rank if pick else None, pick.value if pick else None, numbers)

    def _left(self, place: int, standing: Standing, seeds: int) -> Decision:
        arm, found = self.arms[place], standing.places[place]
        if found is None:
            why = "has no loss that can be compared"
        else:
            lower = found.numbers["lower"]
            why = f"is at least {lower:.2%} above the best" if lower else "is far above the best"
        text = f"{arm.label} gets no more seeds after {seeds}: it {why}"
        return Decision("left", text, arm.rank, arm.value, {} if found is None else found.numbers)
