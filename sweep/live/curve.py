"""A trial's training loss in bounded memory, and as a line of characters."""

import math
from array import array
from collections.abc import Sequence

BUCKETS = 128  # three times the characters that there are for a curve: doubling their span leaves at least 64
BARS = "▁▂▃▄▅▆▇█"
BROKEN = "×"  # a loss that is NaN or infinite


class Curve:
    """Mean losses of equal spans of steps. The spans double as training goes on, so it stays at 2 kB.

    A step that comes again, as after a restart from a checkpoint, replaces what was there from its span on.
    """

    def __init__(self) -> None:
        self.last = 0
        self._span = 1
        self._sums, self._counts = array("d"), array("L")

    def add(self, step: int, loss: float) -> None:
        """Takes in the loss of a step; steps count from 1."""
        while (place := (step - 1) // self._span) >= BUCKETS:
            self._double()
        if step <= self.last:
            del self._sums[place:], self._counts[place:]
        missing = place + 1 - len(self._sums)
        self._sums.extend([0.0] * missing)
        self._counts.extend([0] * missing)
        self._sums[place] += loss
        self._counts[place] += 1
        self.last = step

    def _double(self) -> None:
        self._span *= 2
        if len(self._sums) % 2:
            self._sums.append(0.0)
            self._counts.append(0)
        self._sums = array("d", (a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)))
        self._counts = array("L", (a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)))

    def drawn(self, width: int, total: int = 0) -> str:
        """The curve in at most `width` characters, as far as training has come of `total` steps (0: as far as it has come).

        What lies between two losses is drawn as the earlier one; what lies before the first, as in a resumed trial, is blank.
        """
        total = max(total, self.last)
        if not self.last or width < 1:
            return ""
        reached = -(-self.last * width // total)
        values = [self._mean(place * total // width, ((place + 1) * total - 1) // width) for place in range(reached)]
        for place in range(1, reached):
            values[place] = values[place - 1] if values[place] is None else values[place]
        return sparkline(values)

    def _mean(self, first: int, last: int) -> float | None:
        """Mean loss of the buckets of some steps, counted from 0; None where there is none."""
        part = slice(first // self._span, max(first, last) // self._span + 1)
        count = sum(self._counts[part])
        return sum(self._sums[part]) / count if count else None


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value, from the lowest to the highest of them; all are of middle height where they are equal."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(" " if value is None else _bar(value, low, high - low) for value in values)


def _bar(value: float, low: float, span: float) -> str:
    if not math.isfinite(value):
        return BROKEN
    share = (value - low) / span if 0 < span < math.inf else 0.5
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]
