"""Waiting for a store that is away."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
FIRST_S, LONGEST_S = 0.2, 5.0


def retry(
    action: Callable[[], Result],
    seconds: float,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Does it; where the store refuses, again, later and later, for so long. At least once.

    Raises:
        OSError: the store's last refusal.
    """
    deadline, pause = now() + seconds, FIRST_S
    while True:
        try:
            return action()
        except OSError:
            left = deadline - now()
            if left <= 0:
                raise
        sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_S)
