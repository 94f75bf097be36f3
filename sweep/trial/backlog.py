"""Which rows wait for the store, and when the next ones are due. Has no thread, no clock and no I/O."""

from collections import deque
from dataclasses import dataclass

from sweep.store.store import Row

FRESHNESS = 30  # a part is cut at the latest when 1/30 of the run's age has passed since its first row …
LONGEST_S = 30.0  # … or after this long. So ten hours make 1,280 parts, where a constant 2 s would make 18,000.


@dataclass(eq=False)
class Part:
    """Consecutive rows that go into one file."""

    sequence: int  # names the file: a part written twice exists once
    first: int  # ordinal of its first row among all that were ever added, from 0
    count: int
    rows: list[Row] | None  # None: in the spool
    written: bool = False


class Backlog:
    """Rows in order of arrival: first those cut into parts, then those not yet cut.

    Args:
        now: seconds on any clock; every `now` must be on the same one.
        rows_per_part: a part is due when this many rows wait, and holds no more.
        seconds_per_part: a part is due this long after its first row, however few rows it has; longer in older runs.
        capacity: rows that may wait uncut. Beyond it the oldest ones are dropped: a run's end says more than a
            stretch of its middle.
        backoff: seconds until a part that the store refused is retried: the first pause, doubled each time, and the longest.
        sequence: number of the first part.
    """

    def __init__(
        self,
        now: float,
        *,
        rows_per_part: int,
        seconds_per_part: float,
        capacity: int,
        backoff: tuple[float, float],
        sequence: int = 1,
    ) -> None:
        if not 1 <= rows_per_part <= capacity:
            raise ValueError(f"rows_per_part must be from 1 to capacity ({capacity}), not {rows_per_part}")
        self.rows_per_part, self.seconds_per_part, self.capacity = rows_per_part, seconds_per_part, capacity
        self.accepted = 0
        self.given_up = 0
        self._waiting: deque[Row] = deque()
        self._parts: deque[Part] = deque()
        self._sequence = sequence
        self._began = self._since = self._retry_at = now
        self._backoff, self._pause = backoff, backoff[0]
        self._hurry_to = 0

    def __len__(self) -> int:
        """Rows that are neither written nor dropped."""
        return len(self._waiting) + sum(part.count for part in self._parts)

    @property
    def waiting(self) -> int:
        """Rows that have not been cut into a part yet."""
        return len(self._waiting)

    @property
    def oldest(self) -> int:
        """Ordinal of the oldest row that is neither written nor dropped; `accepted` if there is none."""
        return self._parts[0].first if self._parts else self.accepted - len(self._waiting)

    def add(self, row: Row, now: float) -> None:
        """Adds a row."""
        if not self._waiting:
            self._since = now
        elif len(self._waiting) >= self.capacity:
            self._waiting.popleft()
            self.given_up += 1
        self._waiting.append(row)
        self.accepted += 1

    def hurry(self, now: float) -> None:
        """Makes all rows that are here due immediately."""
        self._hurry_to = self.accepted
        self._retry_at = now

    def due(self, now: float) -> float | None:
        """Seconds until a part is to be written: 0 for immediately, None if no row waits."""
        if self._parts or (self._waiting and self._whole()):
            return max(0.0, self._retry_at - now)
        if not self._waiting:
            return None
        interval = min(max((self._since - self._began) / FRESHNESS, self.seconds_per_part), LONGEST_S)
        return max(0.0, self._since + interval - now, self._retry_at - now)

    def _whole(self) -> bool:
        return len(self._waiting) >= self.rows_per_part or self.oldest < self._hurry_to

    def next(self, now: float) -> Part | None:
        """The part to write now, if one is due. It stays in the backlog until `settle`."""
        if self.due(now) != 0:
            return None
        return self._parts[0] if self._parts else self.cut(now)

    def cut(self, now: float) -> Part:
        """Makes a part of the oldest waiting rows."""
        first = self.accepted - len(self._waiting)
        rows = [self._waiting.popleft() for _ in range(min(self.rows_per_part, len(self._waiting)))]
        part = Part(self._sequence, first, len(rows), rows)
        self._parts.append(part)
        self._sequence += 1
        self._since = now
        return part

    def settle(self, part: Part, *, given_up: bool = False) -> None:
        """Removes a part that is in the store, or never will be."""
        self._pause = self._backoff[0]
        part.written = not given_up
        if part in self._parts:  # otherwise `abandon` has returned it, and its caller counts it
            self._parts.remove(part)
            self.given_up += part.count if given_up else 0

    def refuse(self, now: float) -> float:
        """Pauses after the store refused a part; returns for how many seconds."""
        pause = self._pause
        self._retry_at = now + pause
        self._pause = min(pause * 2, self._backoff[1])
        return pause

    def abandon(self, now: float) -> list[Part]:
        """Removes and returns all rows as parts: nothing is due any more."""
        while self._waiting:
            self.cut(now)
        parts = list(self._parts)
        self._parts.clear()
        return parts
