"""Attempts without Ray: in this process, of a trainable that the test steers, or in a process that may be killed.

python -m tests.attempts LOCATION SPOOL NONCE SETTINGS     # runs one of the synthetic trainable, to its end
"""

import errno
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep.contract.trainable import Context, Trainable
from sweep.store.store import Row, Store
from sweep.trial.attempt import Attempt, Ended
from sweep.trial.spec import SweepSpec, TrialSpec

NAME = "r2-s0"
FINAL = f"checkpoints/{NAME}/final"


def sweep_of(store: Store, spool: Path, patience_s: float = 2.0, **settings: Any) -> SweepSpec:
    """A sweep of one trial."""
    columns: Row = {"trial_id": NAME, "lora_r": 2, "micro_batch": settings.pop("micro_batch", None)}
    trial = TrialSpec(NAME, settings, columns, {}, {}, columns["micro_batch"])
    return SweepSpec(
        name="sweep",
        location=store.location,
        nonce=store.nonce,
        base=".",
        spool=str(spool),
        threads=1,
        gpus=0,
        must_fit=True,
        patience_s=patience_s,
        verbose=False,
        provenance={},
        trials={NAME: trial},
    )


def attempt_of(sweep: SweepSpec, store: Store, trainable: Trainable) -> Attempt:
    return Attempt(sweep.trials[NAME], sweep, store, Path(sweep.spool), trainable)


def end_of(attempt: Attempt) -> Row:
    """Polls until the attempt has ended; its outcome."""
    for _ in range(600):
        if isinstance(found := attempt.poll(0.2), Ended):
            return found.outcome
    raise AssertionError("it does not end")


class Toy(Trainable):
    """Two steps, a checkpoint after each, and an evaluation; at each of its stages the test has its say."""

    def __init__(self) -> None:
        self.at: dict[str, Callable[[], None]] = {}
        self.context: Context

    def check(self, *given: Any) -> list[str]:
        return []

    def prepare(self, *given: Any) -> tuple[Any, Row]:
        return None, {}

    def run(self, context: Context) -> Row:
        self.context = context
        first = context.resume_from.step + 1 if context.resume_from else 1
        for step in range(first, 3):
            context.report({"step": step, "loss": 1.0 / step})
            context.save(folder(context.work_dir / f"checkpoint-{step}"), step)
            self._reach(f"step {step}")
            if context.should_stop():
                return {"train_loss": 1.0}
        self._reach("evaluation")
        context.evals = [{"example_id": 0, "loss_sum": 1.0, "tokens": 1, "bytes": 4}]
        context.final = folder(context.work_dir / "final")
        return {"train_loss": 0.5, "eval_loss": 1.0}

    def _reach(self, stage: str) -> None:
        self.at.get(stage, lambda: None)()


def folder(path: Path) -> Path:
    path.mkdir()
    (path / "adapter").write_text("weights")
    return path


def row_of(store: Store) -> Row:
    (row,) = store.trials().to_pylist()
    return dict(row)


def reached(stage: str, toy: Toy) -> tuple[threading.Event, threading.Event]:
    """Has the toy wait at a stage: (it is there, it may go on)."""
    there, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        assert go_on.wait(60)

    toy.at[stage] = wait
    return there, go_on


def stopped_at(stage: str, attempt: Attempt, toy: Toy) -> None:
    """It is told to stop while it is at a stage: by a scheduler, at an interrupt, or as its process ends."""
    there, go_on = reached(stage, toy)
    attempt.start()
    assert there.wait(60)
    attempt.stop("a test stopped it")
    go_on.set()
    attempt.close()


def no_room(*given: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def everything(store: Store) -> dict[str, bytes]:
    assert store.local is not None
    return {str(path): path.read_bytes() for path in store.local.rglob("*") if path.is_file()}


def main(location: str, spool: str, nonce: str, settings: str) -> None:
    from trainables.synthetic import Synthetic

    store = Store(location, nonce or None)
    attempt = attempt_of(sweep_of(store, Path(spool), **json.loads(settings)), store, Synthetic())
    attempt.start()
    print("started", flush=True)
    outcome = end_of(attempt)
    attempt.close()
    print(json.dumps({"status": outcome["status"], "ray": "ray" in sys.modules, "torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main(*sys.argv[1:])
