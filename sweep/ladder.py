"""The values to try of a tuned setting, and where to begin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.errors import Complaint, ConfigError
from sweep.space import FULL, Rank

# Learning rates. LoRA's best one is about ten times that of full fine-tuning, and about the same for every rank while alpha
# is fixed (J. Schulman et al., "LoRA Without Regret", Thinking Machines Lab, 2025; N. Chen, S. Villar and S. Hayou,
# "Learning Rate Scaling across LoRA Ranks and Transfer to Full Finetuning", arXiv:2602.06204, 2026).
LEARNING_RATE = "learning_rate"
LORA_START = 3e-4
FULL_SHARE = 0.1
_DECADES = 2  # either way of the start


@dataclass(frozen=True)
class Ladder:
    """Values in ascending order, and the place of the first to try."""

    values: tuple[float, ...]
    start: int

    @classmethod
    def of(cls, start: float, values: Sequence[float] = ()) -> "Ladder":
        """The given values, beginning at the one nearest to `start`; without any, two per decade, two decades in each direction.

        So 3e-4 gives …, 1e-4, 3e-4, 1e-3, …, and 2e-3 gives …, 6e-4, 2e-3, 6e-3, ….

        Raises:
            ConfigError: there are no values, and `start` is not positive.
        """
        if not values and not start > 0:
            text = f": values are tried from one above 0, got {start:g}. Name them all with --ladder."
            raise ConfigError([Complaint("tune", text)])
        chosen = tuple(sorted(set(values))) or _decades(start)
        ratios = min(start, *chosen) > 0
        distance = [abs(math.log(value / start)) if ratios else abs(value - start) for value in chosen]
        return cls(chosen, distance.index(min(distance)))


@dataclass(frozen=True)
class Ladders:
    """What is tried of a setting: with LoRA, and with full fine-tuning."""

    key: str
    lora: Ladder
    full: Ladder

    def of(self, rank: Rank) -> Ladder:
        return self.full if rank == FULL else self.lora


def _decades(start: float) -> tuple[float, ...]:
    base = start / 3 if f"{start:e}".startswith("3.000") else start
    scaled = (factor * base * 10.0**decade for decade in range(-_DECADES, _DECADES + 1) for factor in (1, 3))
    return tuple(float(f"{value:.3g}") for value in scaled)
