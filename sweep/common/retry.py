"""Retries against a store that is temporarily unreachable."""

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
    """Calls `action`; on OSError retries it with exponential backoff for up to `seconds`. Tries at least once.

    Raises:
        OSError: the last attempt's.
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
