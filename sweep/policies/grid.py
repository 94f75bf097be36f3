"""The simplest policy: every trial of a grid."""

from collections.abc import Generator
from dataclasses import dataclass

from sweep.policies.policy import Done, Results, Step, ask
from sweep.space import Trial


@dataclass(frozen=True)
class Grid:
    """All trials, in order, however any of them ends."""

    trials: tuple[Trial, ...]

    def steps(self) -> Generator[Step, Results | None, None]:
        yield from ask(self.trials)
        yield Done("every trial of the grid has ended")
