"""Each rank's best value first, then all seeds of it, or a race over them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from sweep.policies.policy import Done, Results, Step, ask
from sweep.policies.race import Arm, Judge, Race
from sweep.policies.tune import SLACK, Best, Tune, descending, named


@dataclass(frozen=True)
class TuneThenSeeds:
    """`--tune`, alone or with `--race`.

    Attributes:
        seeds: the first one tunes; a race takes as many as it needs, without a race all are trained.
        judge: evaluates a race between the ranks at their best values; None: no race.
    """

    tune: Tune
    seeds: tuple[int, ...]
    judge: Judge | None = None

    def steps(self) -> Generator[Step, Results | None, None]:
        found = yield from self.tune.walk(SLACK if len(self.seeds) > 1 else 0.0, len(self.seeds))
        arms = self.arms(found)
        if self.judge is not None:
            yield from Race(arms, self.judge, tried(found)).steps()
            return
        yield from ask([arm.trials[place] for place in range(len(self.seeds)) for arm in arms])
        yield Done(f"every seed of each rank at its best {self.tune.key} has ended")

    def arms(self, found: Sequence[Best]) -> tuple[Arm, ...]:
        """Each rank at its best value, cheapest first."""
        best = {one.rank: one.value for one in found}
        return tuple(
            Arm(
                f"{named([rank])} {self.tune.key}={best[rank]:g}",
                rank,
                tuple(self.tune.make(rank, best[rank], seed) for seed in self.seeds),
                best[rank],
            )
            for rank in reversed(descending(list(best)))
        )


def tried(found: Sequence[Best]) -> int:
    """How many configurations had a loss to choose from."""
    return sum(len(one.losses) for one in found)
