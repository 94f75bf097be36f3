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

# Where Linux counts OOM kills: of the whole machine, and of this control group (cgroup v2, v1).
COUNTERS = tuple(
    map(Path, ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"))
)
FIX = "Run fewer trials at once (--max_concurrent_trials), or on a machine with more memory."
TAIL = 2_000  # characters of a message that a row keeps


def oom_kills(counters: Sequence[Path] = COUNTERS) -> tuple[int, ...]:
    """How many processes were killed because host memory ran out, by counter; 0 for a missing counter."""
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
        """Records that Ray Tune gave up on a trial."""
        self.unfinished.pop(trial_id, None)
        self.errors[trial_id] = death(text, oom_kills() != self.kills)
        self.kills = oom_kills()


def death(text: str, kernel_killed: bool) -> Row:
    """The columns of a trial whose process died: killed because host memory ran out, or otherwise.

    The kernel's counters come first, then the type of Ray's error; its text only if nothing else distinguishes it.
    """
    if kernel_killed:
        return _host_memory(f"It died when the kernel killed a process on this machine because memory ran out. {FIX}")
    if (used := ray_internals.says_out_of_memory(text)) is not None:
        shown = f" ({used})" if used else ""
        return _host_memory(f"Ray killed its process, since its machine ran low on memory{shown}. {FIX}")
    return {"error_type": "ProcessDied", "error_message": text[-TAIL:]}


def _host_memory(message: str) -> Row:
    return {"error_type": "HostOutOfMemory", "error_message": message}


def write_missing_rows(trials: Sequence[Trial], store: Store, seen: Seen, stopped: bool) -> None:
    """Writes the rows of trials whose process could not, and what only the driver knows about those that were stopped.

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


def settled(trial: Trial, store: Store, seen: Seen, root: Path) -> Row:
    """The row of a trial that has ended, as far as it is known: one that was told to stop writes its own later.

    Of one whose process died, what it left in `root` is uploaded first.

    Raises:
        OSError: the store refuses.
    """
    from sweep.store import leftovers

    name = trial.trial_id
    if name in seen.pruned:
        return {"trial_id": name, "status": "pruned"}
    if name in seen.errors:
        leftovers.upload_all(store, root, name)
        end_as(trial, store, {"status": "failed", **seen.errors[name]})
    if (row := store.trial(name)) is None:
        write_missing_rows([trial], store, seen, stopped=False)
        row = store.trial(name)
    assert row is not None, "it was written just now"
    return row


def note_pruned(trials: Sequence[Trial], store: Store, seen: Seen) -> None:
    """Writes the scheduler's decisions into the rows that stopped trials have written so far; the others follow later."""
    for trial in [one for one in trials if one.trial_id in seen.pruned]:
        with suppress(OSError):  # unreachable store: `write_missing_rows` does it
            if store.trial(trial.trial_id) is not None:
                end_as(trial, store, {"status": "pruned", **seen.pruned[trial.trial_id]})
                del seen.pruned[trial.trial_id]


def reject(one: Attempted, store: Store, why: str) -> None:
    """Records why a trial was not started; what an earlier attempt measured is kept."""
    before = store.trial(one.trial.trial_id) or {}
    known = {"attempts": store.attempts(one.trial.trial_id), "ended_at": datetime.now(UTC)}
    ending = {"status": "rejected", "error_type": None, "error_message": why, **known}
    store.write_trial({**before, **one.columns, **ending}, one.trial.axis_columns())


def end_as(trial: Trial, store: Store, ending: Row) -> None:
    """Records how a trial ended whose process only knew that it was stopped; one that had ended by itself is unchanged."""
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
