"""Attempts without Ray: in this process, or in one of its own that may be killed.

python -m tests.attempts LOCATION SPOOL NONCE SETTINGS     # runs one of the synthetic trainable, to its end
"""

import json
import sys
from pathlib import Path
from typing import Any

from sweep.contract.trainable import Trainable
from sweep.store.store import Row, Store
from sweep.trial.attempt import Attempt, Ended
from sweep.trial.spec import SweepSpec, TrialSpec

NAME = "r2-s0"


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
