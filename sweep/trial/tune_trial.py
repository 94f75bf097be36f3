"""Ray Tune's interface to a trial: a process that runs trials one after the other. The work is in Worker and Attempt."""

from typing import Any

import ray
from ray import tune

from sweep.contract.outcomes import seen_by_tune, without_nulls
from sweep.contract.trainable import Trainable
from sweep.store.store import Row
from sweep.trial.attempt import Attempt, Ended
from sweep.trial.spec import SweepSpec, request_name
from sweep.trial.worker import NotClean, Worker

POLL_S = 0.5


class TuneTrial(tune.Trainable):  # type: ignore[misc]  # ray has no types
    """One process of a sweep. `config["trial"]` says which trial; Tune keeps no checkpoints, an attempt finds its own."""

    def setup(self, config: Row, kind: type[Trainable], shared: Any, sweep: SweepSpec) -> None:
        self.worker = Worker(kind(), shared, sweep)
        self.reset_config(config)

    def reset_config(self, new_config: Row) -> bool:
        self.worker.end()
        self.name = request_name(new_config["trial"])
        self.attempt: Attempt | None = None
        self.last: Row = {}
        return True

    def step(self) -> Row:
        """The newest row with those since the last result, or the trial's phase; at the end, its outcome.

        The first result only says that the attempt was claimed: the driver uses it to count restarts.
        """
        if self.attempt is None:
            self.attempt = self.begin()
            return {"attempt": self.attempt.number}
        while True:
            found = self.attempt.poll(POLL_S)
            if isinstance(found, Ended):
                self.worker.end()
                return {**self.last, **without_nulls(found.outcome), "done": True}
            if found.rows:
                self.last = seen_by_tune(found.rows, found.total_steps)
                return dict(self.last)
            if found.phase:
                return without_nulls({"phase": found.phase, "rows_left": found.rows_left})

    def begin(self) -> Attempt:
        """Starts the trial. If the process is not clean it exits, and Tune restarts the trial in a fresh one."""
        try:
            return self.worker.begin(self.name)
        except NotClean:
            ray.actor.exit_actor()
            raise

    def cleanup(self) -> None:
        self.worker.close()
