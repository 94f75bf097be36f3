"""Claims a trial: everything that is read from and written to the store before an attempt starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.store import checkpoints, leftovers
from sweep.store.checkpoints import Checkpoint
from sweep.store.columns import AGAIN
from sweep.store.store import Row, Store


@dataclass(frozen=True)
class Claim:
    """The attempt's number, from 1, and what it resumes from. If `ended` is set, the row is written and nothing is left to do."""

    attempt: int
    checkpoint: Checkpoint | None = None
    earlier: Sequence[Row] = ()
    log: str = ""
    ended: Row | None = None


def claim(store: Store, root: Path, trial_id: str, work_dir: Path, micro_batch: int | None = None) -> Claim:
    """Uploads what earlier attempts left on this machine, and marks the start of a new one; may be repeated.

    The attempt resumes from a checkpoint of the same micro-batch only.

    Raises:
        OSError: the store refuses; no new attempt is recorded.
    """
    endings = leftovers.upload_all(store, root, trial_id)
    if endings and endings[-1].row["status"] not in AGAIN:
        return Claim(endings[-1].row["attempts"], ended=endings[-1].row)  # Tune restarted it needlessly
    attempt = store.attempts(trial_id) + 1
    # A trial that never started has no checkpoint, and may be one of a thousand: it saves the request.
    found = checkpoints.fetch(store, trial_id, work_dir / "resume", micro_batch) if attempt > 1 else None
    if found and found.outcome is not None and found.name:
        checkpoints.remove_all_but(store, trial_id, found.name)
    earlier = [row for row in store.steps(trial_id).to_pylist() if row["step"] <= found.step] if found else []
    log = store.read_log(trial_id)
    store.remove_trial(trial_id)
    store.write_step_part(trial_id, attempt, 0, [])
    return Claim(attempt, found, earlier, log)
