"""All that the store has to say, and be told, before an attempt of a trial begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.store import checkpoints, leftovers
from sweep.store.checkpoints import Checkpoint
from sweep.store.columns import AGAIN
from sweep.store.store import Row, Store


@dataclass(frozen=True)
class Claim:
    """The attempt's number from 1, and what it resumes from. With `ended` there is nothing to do: the row is written."""

    attempt: int
    checkpoint: Checkpoint | None = None
    earlier: Sequence[Row] = ()
    log: str = ""
    ended: Row | None = None


def claim(store: Store, root: Path, trial_id: str, work_dir: Path, micro_batch: int | None = None) -> Claim:
    """Writes what earlier attempts left on this machine, and marks the begin of another; may be done again.

    The attempt resumes from a checkpoint of the same micro-batch only.

    Raises:
        OSError: the store refuses. It knows nothing of another attempt then.
    """
    endings = leftovers.upload_all(store, root, trial_id)
    if endings and endings[-1].row["status"] not in AGAIN:
        return Claim(endings[-1].row["attempts"], ended=endings[-1].row)  # Tune started it again without need
    attempt = store.attempts(trial_id) + 1
    # A trial that was never begun has none, and may be one of a thousand: it asks for none.
    found = checkpoints.fetch(store, trial_id, work_dir / "resume", micro_batch) if attempt > 1 else None
    earlier = [row for row in store.steps(trial_id).to_pylist() if row["step"] <= found.step] if found else []
    log = store.read_log(trial_id)
    store.remove_trial(trial_id)
    store.write_step_part(trial_id, attempt, 0, [])
    return Claim(attempt, found, earlier, log)
