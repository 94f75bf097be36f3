"""A running attempt: the thread that trains, and afterwards writes everything to the store."""

import json
import platform
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep import redact
from sweep.common.formatting import reason
from sweep.common.names import resolver
from sweep.common.provenance import versions
from sweep.common.retry import retry
from sweep.contract.admission import Room, refusal
from sweep.contract.outcomes import classify, without_nulls
from sweep.contract.trainable import Context, Trainable
from sweep.errors import LockLost
from sweep.store import checkpoints, leftovers
from sweep.store.columns import AGAIN
from sweep.store.leftovers import Ending, Kept
from sweep.store.store import Row, Store
from sweep.trackers.trackers import Run, Trackers, managed, tracker_dir
from sweep.trial.claim import Claim
from sweep.trial.output import Output
from sweep.trial.reporting import Reporter
from sweep.trial.spec import SweepSpec, TrialSpec
from sweep.trial.uploads import Saved, Uploads

PEAKS = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes", "peak_rss_bytes")
FLUSH_S = 0.5  # how long a checkpoint waits at a time for the rows up to it


class Running:
    """The training of one claimed attempt, until its row is written.

    Args:
        folder: keeps what the store does not have, for a later command.
        work_dir: training's working folder; removed at the end.
        reused: whether this process has run another trial before.

    Attributes:
        trained: set once no more rows will come.
        ended: set once the row is in the store, or `error` says why it is not.
        outcome: how the attempt ended, as columns; empty until then.
        phase: what it does before its first step or after its last.
    """

    def __init__(
        self,
        trial: TrialSpec,
        sweep: SweepSpec,
        store: Store,
        claimed: Claim,
        folder: Path,
        work_dir: Path,
        trainable: Trainable,
        shared: Any,
        reused: bool,
    ) -> None:
        self.trained, self.ended = threading.Event(), threading.Event()
        self.outcome: Row = {}
        self.error: BaseException | None = None
        self.phase: Row = {}
        self.stop_reason: str | None = None
        self._trial, self._sweep, self._store, self._claimed = trial, sweep, store, claimed
        self._folder, self._work_dir = folder, work_dir
        self._trainable, self._reused = trainable, reused
        self._started_at = datetime.now(UTC)
        self._stop = threading.Event()
        self._cut_short = self._lost = False
        self._peaks: Row = {}
        self._last_step: int | None = claimed.checkpoint.step if claimed.checkpoint else None
        self._reported_rows = 0
        self._trackers = self._make_trackers()
        self.reporter = Reporter(self._write_part, spool=folder / "steps", patience=sweep.patience_s)
        self._uploads = Uploads(self._upload, self._rows_stored, work_dir)
        self.context = self._make_context(shared)
        self._thread = threading.Thread(target=self._live, name="training", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Asks training to end at its next step."""
        if not self._stop.is_set():
            self.stop_reason = reason
            self._stop.set()

    def join(self) -> None:
        self._thread.join()

    # --- its parts ---------------------------------------------------------------------------------------------------

    def _make_trackers(self) -> Trackers:
        trial, sweep = self._trial, self._sweep
        config = {**trial.settings, **trial.axes}
        return Trackers(
            managed(trial.settings.get("report_to")),
            Run(trial.trial_id, sweep.name, "trial", config, trial.settings.get("run_name")),
            self._claimed.earlier,
            tracker_dir(self._store.local, sweep.name),
            self._work_dir,
            self._folder / "log",
        )

    def _make_context(self, shared: Any) -> Context:
        return Context(
            trial_id=self._trial.trial_id,
            settings=self._trial.settings,
            shared=shared,
            resolve=resolver(self._sweep.base),
            work_dir=self._work_dir,
            report=self._report,
            save=self._uploads.offer,
            phase=self._enter,
            should_stop=self._should_stop,
            note=self._trackers.note,
            threads=self._sweep.threads,
            verbose=self._sweep.verbose,
            resume_from=self._claimed.checkpoint,
            earlier=self._claimed.earlier,
            smaller_ranks=self._trial.smaller_ranks,
            once=self._once,
        )

    # --- what training calls -----------------------------------------------------------------------------------------

    def _report(self, row: Row) -> None:
        self.phase = {}  # it trains: a phase that was not polled in time is over
        for name in PEAKS:
            if row.get(name) is not None:
                self._peaks[name] = max(row[name], self._peaks.get(name, 0))
        self.reporter.put({"trial_id": self._trial.trial_id, "attempt": self._claimed.attempt, **row})
        self._trackers.log(row)
        self._reported_rows += 1
        if "step" in row:
            self._last_step = row["step"]
            self._uploads.reported(row["step"])

    def _enter(self, phase: str, rows_left: int | None) -> None:
        self.phase = without_nulls({"phase": phase, "rows_left": rows_left})

    def _should_stop(self) -> bool:
        """Once this has returned True, what training returns is not a complete outcome."""
        self._cut_short |= self._stop.is_set()
        return self._cut_short

    def _once(self, key: str, make: Callable[[], list[Row]]) -> list[Row]:
        """The rows that a trial of the sweep has kept under a key; where none has, made and kept here."""
        rows = self._store.baseline(key)
        if rows is None:
            rows = make()
            try:
                with self._losing():
                    self._store.write_baseline(key, rows)
            except OSError as error:
                print(f"Other trials have to score the base model again, since the store refused it: {reason(error)}")
        return rows

    # --- what the other threads call ---------------------------------------------------------------------------------

    def _write_part(self, sequence: int, rows: list[Row]) -> None:
        with self._losing():
            self._store.write_step_part(self._trial.trial_id, self._claimed.attempt, sequence, rows)

    def _rows_stored(self) -> bool:
        return self.reporter.flush(FLUSH_S) == 0 and not self.reporter.kept

    def _upload(self, saved: Saved) -> str:
        kept = self._sealed(saved)
        with self._losing():
            return checkpoints.upload(self._store, self._trial.trial_id, kept.folder, kept.seal)

    def _sealed(self, saved: Saved) -> Kept:
        seal = checkpoints.seal_of(saved.folder, saved.step, saved.outcome, self._trial.micro_batch)
        return Kept(saved.folder, seal)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Stops training if the sweep turns out to belong to another driver."""
        try:
            yield
        except LockLost:
            self._lost = True
            self.stop("another driver has the sweep")
            raise

    # --- the training thread -----------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self.outcome = self._write(self._train())
        except BaseException as error:  # `poll` raises it
            self.error = error
        finally:
            self._uploads.close(0)
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self.ended.set()

    def _train(self) -> Row:
        """Runs the trainable, and turns whatever it returns or raises into an outcome."""
        try:
            with Output(self._folder / "log", echo=self._sweep.verbose):
                return self._result_or_found()
        except BaseException as error:  # our own, or a full disk
            return classify(error)
        finally:
            self.trained.set()
            self._uploads.trained()

    def _result_or_found(self) -> Row:
        found = self._claimed.checkpoint
        if found is not None and found.outcome is not None:
            return found.outcome  # it has ended; only its row is missing
        outcome = self._result()
        # Excludes steps that an earlier attempt made beyond its checkpoint: this attempt's loss does not cover them.
        return {"status": "completed", **outcome, "steps": len(self._claimed.earlier) + self._reported_rows}

    def _result(self) -> Row:
        if why := self._refusal():
            print(f"Not trained: {why}")
            return {"status": "rejected", "error_message": why}
        try:
            outcome = self._trainable.run(self.context)
        except BaseException as error:  # the end of this thread is the end of the trial, whatever the reason
            traceback.print_exc()
            outcome = {**self._peaks, **self.context.so_far, **classify(error)}
            outcome["error_message"] = redact.text(outcome["error_message"])
            error.__traceback__ = None  # its frames hold the model
        if self._cut_short and outcome.get("status", "completed") == "completed":
            print(f"Stopped before its last step: {self.stop_reason}.")
            return {**outcome, "status": "interrupted"}  # only the driver knows why it was stopped
        return outcome

    def _refusal(self) -> str | None:
        """Why the trial does not fit this process's device, which the driver may not have known."""
        predicted, gpus = self._trial.columns.get("predicted_peak_memory_bytes"), self._sweep.gpus
        if predicted is None or not gpus or not self._sweep.must_fit:
            return None
        size = self._trainable.device_bytes()
        return refusal(predicted, [Room(f"the card of {platform.node()}", size, gpus)] if size else [])

    # --- its end -----------------------------------------------------------------------------------------------------

    def _write(self, outcome: Row) -> Row:
        """Writes everything else to the store before the trial's row, so that a trial with a row is done."""
        patience = 0.0 if self._lost else self._sweep.patience_s
        deadline = time.monotonic() + patience
        self.reporter.close(patience)
        left = self._upload_final(outcome, deadline)
        kept = self._sealed(left) if left else None
        ending = Ending(self._row(outcome), dict(self._trial.axes), self._evals(), kept, self._scores())
        held = self._trackers.finish({"steps": self._last_step, **ending.row})
        ending.row["checkpoint"] = self._uploads.newest or (self._claimed.checkpoint and self._claimed.checkpoint.name)
        self._upload_ending(ending, deadline + held)  # time spent on trackers does not count against the store
        return {**outcome, "checkpoint": ending.row["checkpoint"]}

    def _upload_final(self, outcome: Row, deadline: float) -> Saved | None:
        """Uploads the finished adapter or model with the outcome in its seal; returns it if the store does not have it."""
        folder, self.context.final = self.context.final, None
        final = None
        # Nothing is final if the next attempt is to resume training rather than find this.
        if folder is not None and outcome["status"] not in AGAIN:
            final = Saved(folder, self._last_step or 0, outcome)
            if self._evals_written(deadline):  # before the seal: an attempt that finds it does not evaluate again
                self._uploads.offer(final.folder, final.step, final.outcome)
                final = None
        rest = self._uploads.close(_left(deadline))
        return final or (rest if rest is not None and rest.outcome is not None else None)

    def _evals_written(self, deadline: float) -> bool:
        name, evals, scores = self._trial.trial_id, self._evals(), self._scores()
        try:
            if evals:
                retry(lambda: self._store.write_evals(name, evals), _left(deadline))
            if scores:
                retry(lambda: self._store.write_scores(name, scores), _left(deadline))
        except OSError:
            return False
        self.context.evals, self.context.scores = [], []
        return True

    def _evals(self) -> list[Row]:
        return [{"trial_id": self._trial.trial_id, **row} for row in self.context.evals]

    def _scores(self) -> list[Row]:
        return [{"trial_id": self._trial.trial_id, **row} for row in self.context.scores]

    def _upload_ending(self, ending: Ending, deadline: float) -> None:
        store, folder, name, number = self._store, self._folder, self._trial.trial_id, self._claimed.attempt
        try:
            retry(lambda: leftovers.upload(store, folder, name, number, ending), _left(deadline))
        except OSError as error:
            with suppress(
                OSError
            ):  # this machine's disk is full, too: the next attempt resumes from the last checkpoint
                ending.save(folder)
            raise leftovers.unreachable(store, name, error, folder) from None
        leftovers.remove(folder)

    def _row(self, outcome: Row) -> Row:
        provenance = {**self._sweep.provenance, **self._trial.fingerprints, "versions": versions()}
        return {
            **self._trial.columns,
            **outcome,
            "attempts": self._claimed.attempt,
            "gpus_per_trial": self._sweep.gpus,
            "hostname": platform.node(),
            "provenance": json.dumps(provenance),
            "dropped_rows": self.reporter.missing - self.reporter.kept,
            "process_reused": self._reused,
            "started_at": self._started_at,
            "ended_at": datetime.now(UTC),
        }


def _left(deadline: float) -> float:
    """Seconds left for the store, now that training is over."""
    return max(0.0, deadline - time.monotonic())
