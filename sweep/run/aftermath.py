"""After a run: rows for the trials that could not write their own, and what is known of how their processes died."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sweep.common.formatting import reason
from sweep.errors import StoreUnreachable
from sweep.plan.shrink import Attempted
from sweep.run import ray_internals
from sweep.space import Trial
from sweep.store.store import Row, Store

# Where Linux counts the processes that it killed for want of memory: of the whole machine, and of this control group
# (version 2 of them, version 1).
COUNTERS = tuple(
    map(Path, ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"))
)
FIX = "Run fewer trials at once (--max_concurrent_trials), or on a machine with more memory."
TAIL = 2_000  # characters of a message that a row keeps


def oom_kills(counters: Sequence[Path] = COUNTERS) -> tuple[int, ...]:
    """How many processes were killed for want of host memory, by counter; a counter that is not there says 0."""
    return tuple(_count(path) for path in counters)


def _count(path: Path) -> int:
    try:
        words = path.read_text().split()
        return int(words[words.index("oom_kill") + 1])
    except (OSError, ValueError, IndexError):
        return 0


@contextmanager
def store_errors_in_one_line(store: Store, root: Path) -> Iterator[None]:
    """Turns an OSError of the store into one line that says where the measurements are kept; `root` is the spool.

    Raises:
        StoreUnreachable: instead of an OSError.
    """
    from sweep.store import leftovers

    try:
        yield
    except OSError as error:
        names = sorted({folder.parent.name for folder in leftovers.pending(root)})
        kept = f" What {', '.join(names)} measured is kept in {root}." if names else ""
        raise StoreUnreachable(
            f"{store.location} cannot be written to, so the sweep was stopped: {reason(error)}.{kept} "
            "Free space or fix it, then run the same command on this machine to upload it and resume."
        ) from error


@dataclass
class Seen:
    """What the driver saw of trials that did not end by themselves, by id."""

    errors: dict[str, Row] = field(default_factory=dict)
    pruned: dict[str, Row] = field(default_factory=dict)  # the scheduler's decisions, as columns
    unfinished: dict[str, Row] = field(default_factory=dict)  # the last result of each that was running
    kills: tuple[int, ...] = field(default_factory=oom_kills)

    def died(self, trial_id: str, text: str) -> None:
        """Notes that Ray Tune gave a trial up."""
        self.unfinished.pop(trial_id, None)
        self.errors[trial_id] = death(text, oom_kills() != self.kills)
        self.kills = oom_kills()


def death(text: str, kernel_killed: bool) -> Row:
    """The columns of a trial whose process died: killed for want of host memory, or otherwise.

    The kernel's counters come first, then the type of Ray's error; its words only where it has nothing else to tell by.
    """
    if kernel_killed:
        return _host_memory(f"It died, and the kernel killed a process of this machine for want of memory then. {FIX}")
    if (used := ray_internals.says_out_of_memory(text)) is not None:
        shown = f" ({used})" if used else ""
        return _host_memory(f"Ray killed its process, since its machine ran low on memory{shown}. {FIX}")
    return {"error_type": "ProcessDied", "error_message": text[-TAIL:]}


def _host_memory(message: str) -> Row:
    return {"error_type": "HostOutOfMemory", "error_message": message}


def write_missing_rows(trials: Sequence[Trial], store: Store, seen: Seen, stopped: bool) -> None:
    """Writes the rows of trials whose process could not, and what only the driver knows of those that were told to stop.

    Raises:
        OSError: the store refuses.
    """
    have = store.trial_names()
    for trial in trials:
        name = trial.trial_id
        if name in seen.pruned:
            end_as(trial, store, {"status": "pruned", **seen.pruned[name]})
        elif name in seen.errors:
            end_as(trial, store, {"status": "failed", **seen.errors[name]})
        elif name not in have and stopped and name in seen.unfinished:
            _write(trial, store, {"status": "interrupted", "steps": seen.unfinished[name].get("step")})
        elif name not in have and not stopped:
            nothing = {"error_type": "ProcessDied", "error_message": "it left no row, and Ray Tune reported no error"}
            _write(trial, store, {"status": "failed", **nothing})


def note_pruned(trials: Sequence[Trial], store: Store, seen: Seen) -> None:
    """Writes the scheduler's decisions into the rows that the stopped trials have left by now; the others' wait."""
    for trial in [one for one in trials if one.trial_id in seen.pruned]:
        with suppress(OSError):  # a store that is away: `write_missing_rows` does it
            if store.trial(trial.trial_id) is not None:
                end_as(trial, store, {"status": "pruned", **seen.pruned[trial.trial_id]})
                del seen.pruned[trial.trial_id]


def reject(one: Attempted, store: Store, why: str) -> None:
    """Says why a trial was not started; what an earlier attempt has measured stays."""
    before = store.trial(one.trial.trial_id) or {}
    known = {"attempts": store.attempts(one.trial.trial_id), "ended_at": datetime.now(UTC)}
    ending = {"status": "rejected", "error_type": None, "error_message": why, **known}
    store.write_trial({**before, **one.columns, **ending}, one.trial.axis_columns())


def end_as(trial: Trial, store: Store, ending: Row) -> None:
    """Says how a trial ended whose process only knew that it was to stop; one that had ended by itself stays as it is."""
    row = store.trial(trial.trial_id)
    if row is None:
        _write(trial, store, ending)
    elif row["status"] == "interrupted":
        store.write_trial({**row, **ending}, trial.axis_columns())


def _write(trial: Trial, store: Store, row: Row) -> None:
    known = {"attempts": max(store.attempts(trial.trial_id), 1), "ended_at": datetime.now(UTC)}
    if store.read_log(trial.trial_id):
        known["log"] = store.log_name(trial.trial_id)
    store.write_trial({**trial.columns(), **row, **known}, trial.axis_columns())
