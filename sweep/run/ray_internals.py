"""All undocumented parts of Ray that we use; tests/test_ray_internals.py tells what a version of Ray has changed.

Reading a sweep as Tune's ResultGrid uses more of them, in sweep/store/result_grid.py.
"""

import re
from pathlib import Path
from typing import Any

# Its memory monitor's words: it kills an actor's process without an exception type or a counter that would say so.
_LOW_ON_MEMORY = re.compile(r"node running low on memory(?:.*?(was [\d.]+\s?GB used / [\d.]+\s?GB limit))?", re.DOTALL)
_OUT_OF_MEMORY = "ray.exceptions.OutOfMemoryError"


def process_of(trial: Any) -> int:
    """Which process a Tune trial was given: equal for trials that were given the same one, one after the other."""
    return hash(trial.temporary_state.ray_actor)


def allow_failures(trial: Any, count: int) -> None:
    """How often Tune restarts this trial. `FailureConfig` only sets it for all trials alike."""
    trial.max_failures = count


def forget_running_means(trial: Any) -> None:
    """Frees what Tune keeps of an ended trial for means that nobody asks for: 40 kB, in memory and in its state."""
    trial.metric_n_steps.clear()


def last_error(trial: Any) -> str:
    """What Tune recorded of a trial's last failure, without the guesses, advice and process list that Ray's texts continue with."""
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path else "its process died"
    return text.rpartition("Failure # ")[2].partition("Some common causes include")[0].strip()


def says_out_of_memory(text: str) -> str | None:
    """Whether an error says that Ray killed a process because host memory ran out: with how much was used if stated, else empty."""
    if found := _LOW_ON_MEMORY.search(text):
        return found.group(1) or ""
    return "" if _OUT_OF_MEMORY in text else None
