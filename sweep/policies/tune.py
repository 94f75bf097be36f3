"""`--tune`: each rank at its own best value of a setting, in about half of the grid's runs.

With one learning rate for all ranks, published grids of 34 models give the right rank for 1 to 19 of 28: a low rate favors
small ranks, a high one large ranks. So the largest rank is bracketed: values are tried until the best one has a worse
neighbor on both sides. Then, rank by rank downward, the previous best value is tried, and the next one in the direction in
which best values move, but only if that can change the answer. With a fixed alpha, the best learning rate falls or stays
as the rank falls; with alpha proportional to the rank, it rises.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sweep.ladder import Ladder
from sweep.policies.policy import NO_ROOM, Decision, Result, Results, Step, ask
from sweep.space import FULL, AlphaRule, Rank, Trial

# If a rank misses the margin by more than this, the next value is not expected to bring it within. On 17 published grids
# (benchmarks.replay), 0.5 % instead loses one more verdict at a margin of 1 %; no limit at all costs one more run in a
# hundred and changes no verdict.
NEAR = 0.01
# If more seeds follow, a rank is out only if its single run misses the margin by more than this: differences between two
# runs of one configuration have a standard deviation of 0.27 % (66 published pairs), so 0.5 % is 1.9 of these.
SLACK = 0.005

Make = Callable[[Rank, float, int], Trial]  # rank, value, seed
Edge = Literal["lowest", "highest"]


@dataclass(frozen=True)
class Best:
    """A rank's best value.

    Attributes:
        losses: by value, of those that were tried and have one.
        edge: the end of the ladder at which the best value is, so a better one may lie beyond it.
    """

    rank: Rank
    value: float
    loss: float
    losses: Mapping[float, float]
    edge: Edge | None


def descending(ranks: Sequence[Rank]) -> tuple[Rank, ...]:
    """Most expensive first: full fine-tuning, then LoRA from the largest rank."""
    return tuple(sorted(ranks, key=lambda rank: math.inf if rank == FULL else float(rank), reverse=True))


@dataclass(frozen=True)
class Tune:
    """The walk over ranks and values, with one seed.

    Attributes:
        key: the tuned setting's name. Only for learning_rate is it known in which direction its best value moves.
        ranks: in any order.
        ladder, full_ladder: the values for LoRA, and for full fine-tuning.
        make: returns the trial of a rank, a value and a seed; the same one each time.
        margin: how far above the best a rank's loss may be, as a fraction of it.
    """

    key: str
    ranks: tuple[Rank, ...]
    ladder: Ladder
    full_ladder: Ladder
    make: Make
    seed: int
    margin: float
    rule: AlphaRule = "fixed"

    @property
    def sides(self) -> tuple[int, ...]:
        """Directions in which the best value may move on the ladder as the rank falls; known only for learning rates."""
        if self.key != "learning_rate":
            return -1, 1
        return (-1,) if self.rule == "fixed" else (1,)

    def walk(self, slack: float = 0.0, seeds: int = 1) -> Generator[Step, Results | None, tuple[Best, ...]]:
        """The best value of every rank that has one, in the order in which ranks were tried.

        Ranks below one that misses the margin by more than `slack` have none. `seeds` is the most that a rank may get in total.
        """
        found: list[Best] = []
        ranks = descending(self.ranks)
        for place, rank in enumerate(ranks):
            below = ranks[place + 1 :]
            last = next((one for one in reversed(found) if one.rank != FULL), None)
            later = len(below) * len(self.ladder.values) + len(ranks) * (seeds - 1)
            here = _Rank(self, rank, self.full_ladder if rank == FULL else self.ladder, below, later)
            if rank == FULL or last is None:
                yield from here.bracket()
            else:
                yield from here.follow(last.value, min(one.loss for one in found))
            best = here.best()
            yield here.verdict(best)
            if best is None:
                continue
            found.append(best)
            above = best.loss / min(one.loss for one in found) - 1
            if rank != FULL and above > self.margin + slack:
                yield self._out(best, above, below)
                break
        return tuple(found)

    def _out(self, best: Best, above: float, below: Sequence[Rank]) -> Decision:
        rest = f", and so are smaller ones untried: {named(below)}" if below else ""
        text = f"{named([best.rank])} is out, {above:.2%} above the best at its own best {self.key}{rest}"
        numbers = {"above": above, "margin": self.margin, "untried": list(below)}
        return Decision("out", text, best.rank, best.value, numbers)


def named(ranks: Sequence[Rank]) -> str:
    return ", ".join(FULL if rank == FULL else f"r={rank}" for rank in ranks)


@dataclass
class _Rank:
    """One rank's part of the walk: results by index on the ladder, and how many trials may follow those of this rank."""

    tune: Tune
    rank: Rank
    ladder: Ladder
    below: Sequence[Rank]
    later: int
    tried: dict[int, Result] = field(default_factory=dict)

    @property
    def losses(self) -> dict[int, float]:
        return {place: row.comparable for place, row in self.tried.items()}

    @property
    def has_no_room(self) -> bool:
        """Whether the rank does not fit: then no value can be trained."""
        return any(row.status in NO_ROOM for row in self.tried.values())

    def bracket(self) -> Generator[Step, Results | None, None]:
        """Tries values until the best one has a worse neighbor on both sides, or the ladder ends."""
        place: int | None = self.ladder.start
        while place is not None and not self.has_no_room:
            yield from self._try(place)
            place = next(self._open(), None)

    def _open(self) -> Iterator[int]:
        """Indices that could be better than the best: its untried neighbors, or the next lower one if no value gave a loss."""
        best = self._lowest()
        return self._untried((best - 1,) if math.isinf(self.losses[best]) else (best + 1, best - 1))

    def follow(self, value: float, lowest: float) -> Generator[Step, Results | None, None]:
        """Tries the previous best value, and further ones while they can change the answer."""
        place: int | None = self.ladder.values.index(value)
        while place is not None and not self.has_no_room:
            yield from self._try(place)
            place = self._further(lowest)

    def _further(self, lowest: float) -> int | None:
        """The next index to try: next to the best one, if that can bring the rank within the margin."""
        best = self._lowest()
        loss = self.losses[best]
        given_up = math.isinf(loss)
        if not given_up and not 0 < loss / lowest - 1 - self.tune.margin <= NEAR:
            return None
        around = (best + side for side in ((-1,) if given_up else self.tune.sides))
        return next(self._untried(around), None)

    def _untried(self, places: Iterable[int]) -> Iterator[int]:
        return (place for place in places if place not in self.tried and 0 <= place < len(self.ladder.values))

    def _try(self, place: int) -> Generator[Step, Results | None, None]:
        value = self.ladder.values[place]
        yield Decision("value", self._why(value), self.rank, value, {"losses": self._by_value()})
        trial = self._trial(self.rank, place)
        after = len(self.ladder.values) - len(self.tried) - 1 + self.later
        found = yield from ask([trial], self._likely(place), after)
        self.tried[place] = found[trial.trial_id]

    def _why(self, value: float) -> str:
        text = f"{named([self.rank])}: {self.tune.key} {value:g}"
        if not self.tried:
            return f"{text} first"
        best = self._lowest()
        if math.isinf(self.losses[best]):
            return f"{text} next, since {self.ladder.values[best]:g} {self.tried[best].status}"
        return f"{text} next, beside {self.ladder.values[best]:g}, the best so far with {self.losses[best]:.4f}"

    def _likely(self, place: int) -> list[Trial]:
        """The neighbors, then smaller ranks at this value."""
        near = [self._trial(self.rank, one) for one in self._untried((place + 1, place - 1))]
        return [*near, *self._next_ranks(place)]

    def _next_ranks(self, place: int) -> list[Trial]:
        """Smaller ranks at this value; after full fine-tuning, the largest one at its first value."""
        if self.rank != FULL:
            return [self._trial(rank, place) for rank in self.below]
        start = self.tune.ladder.values[self.tune.ladder.start]
        return [self.tune.make(rank, start, self.tune.seed) for rank in self.below[:1]]

    def _trial(self, rank: Rank, place: int) -> Trial:
        return self.tune.make(rank, self.ladder.values[place], self.tune.seed)

    def _lowest(self) -> int:
        """Index of the lowest loss; of the lowest value if there is no loss."""
        return min(self.tried, key=lambda place: (self.losses[place], place))

    def _by_value(self) -> dict[str, float | None]:
        return {f"{self.ladder.values[place]:g}": _finite(loss) for place, loss in sorted(self.losses.items())}

    def best(self) -> Best | None:
        place = self._lowest()
        if math.isinf(self.losses[place]):
            return None
        edges: dict[int, Edge] = {len(self.ladder.values) - 1: "highest", 0: "lowest"}
        losses = {self.ladder.values[one]: loss for one, loss in self.losses.items() if math.isfinite(loss)}
        return Best(self.rank, self.ladder.values[place], self.losses[place], losses, edges.get(place))

    def verdict(self, best: Best | None) -> Decision:
        name, numbers = named([self.rank]), {"losses": self._by_value()}
        if best is None:
            endings = {"oom": "it ran out of memory", "rejected": "its predicted memory fits no card"}
            found = (endings[row.status] for row in self.tried.values() if row.status in endings)
            why = next(found, "no value that was tried gave a loss")
            return Decision("out", f"{name} is out: {why}", self.rank, None, numbers)
        text = f"{name}: {self.tune.key} {best.value:g} is its best, with {best.loss:.4f}"
        if best.edge:
            text += f"; it is the {best.edge} of the ladder, so a better one may lie beyond"
        return Decision("best", text, self.rank, best.value, {**numbers, "edge": best.edge})


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
