"""The simplest policy: every trial of a grid."""

from collections.abc import Generator
from dataclasses import dataclass

from sweep.policies.asked import Done, Results, Step, ask
from sweep.space import Trial


@dataclass(frozen=True)
class Grid:
    """All of the trials, in their order, whatever becomes of any."""

    trials: tuple[Trial, ...]

    def course(self) -> Generator[Step, Results | None, None]:
        yield from ask(self.trials)
        yield Done("every trial of the grid has ended")
