"""Passes step rows from the training thread to Parquet and to Ray Tune without ever blocking training.

    training thread ──put──▶ Reporter ──take──▶ Ray Tune (the actor's main thread)
                                │
                         writer thread ──write──▶ store
                                └─ store unreachable: spooler thread ──▶ local disk ──▶ store, once it is back

Nothing here imports torch or ray.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sweep.store.spool import LIMIT_BYTES, Spool
from sweep.store.store import Row
from sweep.trial.backlog import Backlog, Part

log = logging.getLogger(__name__)
JOIN_S = 1.0  # a writer that is still blocked by the store after this is abandoned; it is a daemon thread


class Clock:
    """Real time. Tests substitute their own."""

    def now(self) -> float:
        """Seconds, from any zero."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Waits until the condition is notified or `seconds` have passed; the condition's lock is held."""
        condition.wait(seconds)


class Reporter:
    """Takes rows from one thread and passes them to two others: to Tune, and to the store.

    Every row that was put is written once, in order, in parts with ascending sequence numbers; a part whose write failed is
    retried under the same number. Rows are dropped, and counted, only if memory (`capacity` rows) and the spool are both
    full, or at `close` if there is no spool.

    Args:
        write: writes a part's rows to the store; may raise or hang. Called from one thread at a time.
        spool: folder on local disk, for this attempt alone, for rows that do not fit in memory.
        spool_bytes: its limit.
        rows_per_part, seconds_per_part, capacity, backoff: see Backlog.
        patience: seconds that `flush` and `close` wait for an unreachable store.
        sequence: number of the first part. Part 0 is left to the owner, who marks an attempt's start with it.
    """

    def __init__(
        self,
        write: Callable[[int, list[Row]], None],
        *,
        spool: Path | None = None,
        spool_bytes: int = LIMIT_BYTES,
        rows_per_part: int = 5_000,
        seconds_per_part: float = 2.0,
        capacity: int = 20_000,
        backoff: tuple[float, float] = (0.2, 5.0),
        patience: float = 60.0,
        sequence: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self.patience = patience
        self.error: Exception | None = None
        self.kept = 0
        self._write = write
        self._clock = clock or Clock()
        self._backlog = Backlog(
            self._clock.now(),
            rows_per_part=rows_per_part,
            seconds_per_part=seconds_per_part,
            capacity=capacity,
            backoff=backoff,
            sequence=sequence,
        )
        self._spool = Spool(spool, spool_bytes) if spool else None
        self._spool_broken = False
        self._fresh: deque[Row] = deque(maxlen=capacity)
        self._closed = self._ended = False
        lock = threading.Lock()  # never held during I/O
        self._arrived, self._work, self._overfull, self._settled = (threading.Condition(lock) for _ in range(4))
        self._lock = lock
        loops = [self._write_parts] + ([self._spill_parts] if self._spool else [])
        self._threads = [threading.Thread(target=loop, name=loop.__name__, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    # --- the training's side -----------------------------------------------------------------------------------------

    def put(self, row: Row) -> None:
        """Adds a row; returns immediately and raises nothing. The row must not be changed afterwards.

        After `close` it is ignored, so a training thread that did not stop in time does no harm.
        """
        with self._lock:
            if self._closed:
                return
            self._backlog.add(row, self._clock.now())
            self._fresh.append(row)
            self._arrived.notify_all()
            if self._backlog.waiting in (
                1,
                self._backlog.rows_per_part,
            ):  # the time of the writer's next part has changed
                self._work.notify()
            if self._overflows():
                self._overfull.notify()

    # --- Tune's side -------------------------------------------------------------------------------------------------

    def take(self, timeout: float) -> list[Row]:
        """Rows that were put since the last call, in order; waits up to `timeout` seconds for the first one.

        Empty after the timeout, or immediately if the reporter is closed and everything was taken. A caller that takes too
        rarely gets the newest `capacity` rows.
        """
        with self._lock:
            deadline = self._clock.now() + timeout
            while not self._fresh and not self._closed and (left := deadline - self._clock.now()) > 0:
                self._clock.wait(self._arrived, left)
            rows = list(self._fresh)
            self._fresh.clear()
        return rows

    @property
    def closed(self) -> bool:
        """Whether no more rows are accepted."""
        return self._closed

    @property
    def missing(self) -> int:
        """Rows that are neither in the store nor on their way there: dropped, or kept in the spool by `close`."""
        return self._backlog.given_up + self.kept

    def flush(self, patience: float | None = None) -> int:
        """Waits until all rows put so far are written, at most `patience` seconds; returns how many are not.

        Does not block training. To be called before a checkpoint counts, since a restart does not repeat the steps before it.
        Does not wait for dropped rows; `missing` counts them.
        """
        with self._lock:
            return self._wait_for_store(self.patience if patience is None else patience)

    def close(self, patience: float | None = None) -> int:
        """Writes what is left, accepts no more rows, ends the threads; returns how many rows are not in the store.

        Rows that could not be written within `patience` seconds stay in the spool (`kept` counts them,
        sweep.store.spool.recover writes them later); without a spool, or if it fails, they are dropped. Calling it
        again has no effect.
        """
        with self._lock:
            self._closed = True
            self._arrived.notify_all()
            self._wait_for_store(self.patience if patience is None else patience)
            self._ended = True
            rest = self._backlog.abandon(self._clock.now())
            self._work.notify_all()
            self._overfull.notify_all()
        for thread in self._threads:
            thread.join(JOIN_S)
        for part in rest:
            self._keep(part)
        if self._spool:
            self._spool.remove()
        return self.missing

    def _wait_for_store(self, patience: float) -> int:
        """Returns how many of the rows present at the call are still waiting."""
        target, deadline = self._backlog.accepted, self._clock.now() + patience
        self._backlog.hurry(self._clock.now())
        self._work.notify()
        while self._backlog.oldest < target and not self._ended and (left := deadline - self._clock.now()) > 0:
            self._clock.wait(self._settled, left)
        return min(len(self._backlog), max(0, target - self._backlog.oldest))

    def _keep(self, part: Part) -> None:
        if part.written:  # by a writer that finished after all
            return
        if part.rows is None or self._save(part, part.rows):
            self.kept += part.count
        else:
            self._backlog.given_up += part.count

    # --- the writer --------------------------------------------------------------------------------------------------

    def _write_parts(self) -> None:
        while part := self._next_part():
            self._deliver(part)

    def _next_part(self) -> Part | None:
        """Waits for a part that is due; None when the thread should end."""
        with self._lock:
            while not self._ended:
                now = self._clock.now()
                if part := self._backlog.next(now):
                    return part
                self._clock.wait(self._work, self._backlog.due(now))
        return None

    def _deliver(self, part: Part) -> None:
        rows = part.rows
        try:
            if rows is None:
                rows = self._load(part)
            if rows is not None:
                self._write(part.sequence, rows)
        except Exception as error:  # whatever the store raises, training continues
            with self._lock:
                pause = self._backlog.refuse(self._clock.now())
            if self.error is None:
                log.warning("The store refused step rows; they are kept and retried in %.1f s: %r", pause, error)
            self.error = error
            return
        self._settle(part, given_up=rows is None)

    def _settle(self, part: Part, given_up: bool) -> None:
        with self._lock:
            spooled = part.rows is None
            self._backlog.settle(part, given_up=given_up)
            self._spool_broken = False
            self._settled.notify_all()
        if self.error is not None:
            log.warning("The store accepts step rows again.")
            self.error = None
        if spooled and self._spool:
            self._spool.discard(part.sequence)

    def _load(self, part: Part) -> list[Row] | None:
        assert self._spool is not None
        try:
            return self._spool.load(part.sequence)
        except (OSError, ValueError) as error:
            log.warning("Lost %d step rows from the spool: %r", part.count, error)
            return None

    # --- the spooler -------------------------------------------------------------------------------------------------

    def _overflows(self) -> bool:
        """Whether rows should go to disk: from half the capacity on, so that the disk has time to take them."""
        spool = self._spool
        return (
            spool is not None
            and 2 * self._backlog.waiting > self._backlog.capacity
            and not (self._spool_broken or spool.full)
        )

    def _spill_parts(self) -> None:
        while part := self._next_spill():
            assert part.rows is not None
            saved = self._save(part, part.rows)
            with self._lock:
                self._spool_broken = not saved
                if saved and not part.written:
                    part.rows = None
                stale = saved and part.written
            if stale and self._spool:
                self._spool.discard(part.sequence)

    def _next_spill(self) -> Part | None:
        with self._lock:
            while not self._ended:
                if self._overflows():
                    return self._backlog.cut(self._clock.now())
                self._clock.wait(self._overfull, None)
        return None

    def _save(self, part: Part, rows: list[Row]) -> bool:
        if self._spool is None:
            return False
        try:
            self._spool.save(part.sequence, rows)
        except (OSError, TypeError) as error:
            log.warning("The spool refused step rows: %r", error)
            return False
        return True
