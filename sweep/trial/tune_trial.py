"""Ray Tune's side of a trial: one process that runs trials one after the other.

Tune calls `step` and gets the newest row; the training itself runs in a second thread that only enqueues rows; a third
writes them to Parquet. So neither Tune nor the store can make training wait.
"""

import json
import os
import platform
import shutil
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from sweep import redact
from sweep.common.formatting import with_class
from sweep.common.imports import uncollected
from sweep.common.names import resolver
from sweep.common.patience import patiently
from sweep.common.provenance import versions
from sweep.contract.outcomes import classify, seen_by_tune, without_nulls
from sweep.contract.trainable import Context, Trainable
from sweep.errors import LockLost, StoreAway
from sweep.store import leftovers
from sweep.store.columns import AGAIN
from sweep.store.store import Row, Store
from sweep.trackers.trackers import Run, Trackers, ours, place
from sweep.trial import process, scratch
from sweep.trial.claim import claim
from sweep.trial.output import Output
from sweep.trial.reporting import Reporter
from sweep.trial.saves import LocalDiskRefuses, Saves

INTERVAL = 0.1  # seconds between results that Tune gets; rows in between come with the next
PEAKS = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes", "peak_rss_bytes")
HEARTBEAT = 0.5  # seconds between looks at whether there is something to save


class TuneTrial(tune.Trainable):  # type: ignore[misc]  # ray has no types
    """One process of a sweep. `config["trial"]` is what differs between trials; the rest is the same for all."""

    def setup(self, config: dict[str, Any], kind: type[Trainable], shared: Any, options: dict[str, Any]) -> None:
        if not options["gpus"]:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray lets a process that asked for no GPU see them all
        self._trainable, self._shared, self._options = kind(), shared, options
        self._store = Store(options["location"], options["nonce"])
        self._scratch = scratch.settle()
        self._clean: process.Clean | None = None
        self._used = 0
        self._reported = 0.0
        self._context: Context
        self._reporter: Reporter
        self._begin_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end_thread()
        self._begin_config(new_config)
        return True

    def _begin_config(self, config: dict[str, Any]) -> None:
        trial_id = config["trial"]["trial_id"]
        self._trial: Row = {"trial_id": trial_id, **self._options["trials"][trial_id]}
        self._micro_batch: int | None = self._trial["columns"]["micro_batch"]
        redact.learn(self._trial["settings"])
        self._thread: threading.Thread | None = None
        self._over = False
        self._phase, self._shown_phase = Row(), Row()  # what it does, and what of that Tune has been told

    # --- Tune asks -------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """The newest row with those in between; at the trial's end its outcome, after its checkpoint was kept.

        The first result only says that the attempt was claimed: the driver counts restarts by it.
        """
        if self._thread is None and not self._over:
            self._start()
            return {"attempt": self._attempt}
        while not self._over:
            self._pace()
            rows = self._reporter.take(HEARTBEAT)
            if self._saves.due and self._rows_are_in_the_store():
                return self._result(rows) | {SHOULD_CHECKPOINT: True}
            if rows:
                return self._result(rows)
            if (phase := self._phase) and phase is not self._shown_phase:
                self._shown_phase = phase
                return dict(phase)
            if self._reporter.closed and self._thread is not None:
                self._thread.join()  # it flushes what is left
                if not self._hand_over_final() and not self._wait_for_checkpoint():
                    self._finish()
        return {**self._last, **without_nulls(self._outcome), "done": True}

    def _rows_are_in_the_store(self) -> bool:
        """Those up to the checkpoint that will be kept: an attempt that goes on from it does not make them again."""
        saved = self._saves.pin()
        # A row that waits for its evaluation comes after its step's checkpoint, while there is training.
        if saved is None or (not self._trained.is_set() and saved.step > (self._reported_step or saved.step)):
            return False
        return self._reporter.flush(HEARTBEAT) == 0

    def _pace(self) -> None:
        """Waits until a result is due or training has ended: Tune woken at every step would take the interpreter from training as often."""
        self._trained.wait(max(0.0, self._reported + INTERVAL - time.monotonic()))
        self._reported = time.monotonic()

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Has Tune keep the newest checkpoint. Where the store refuses, training goes on, and it is tried again."""
        self._store.fence()
        try:
            with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=self._work_dir) as folder:
                kept = super().save(checkpoint_dir or folder)
        except (OSError, RuntimeError) as error:  # RuntimeError: Tune does not find its marker in the store
            who = f"the local disk ({self._work_dir})" if isinstance(error, LocalDiskRefuses) else "the store"
            self._note(f"{who} refused a checkpoint, which waits now: {with_class(error)}")
            self._saves.refused()
            return type(self)._no_checkpoint(dict(self._last))
        self._saves.accepted()
        return kept

    @staticmethod
    def _no_checkpoint(metrics: Row) -> Any:
        from ray.train._internal.session import _TrainingResult

        return _TrainingResult(checkpoint=None, metrics=metrics)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies the saved folder that `step` has pinned once the rows up to it were in the store."""
        self._saves.copy(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: an attempt finds its checkpoint in the store, whether Tune or a new driver began it."""

    def cleanup(self) -> None:
        try:
            self._end_thread()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    # --- an attempt ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._clean is None:
            with uncollected():
                self._warm()
            self._clean = process.snapshot()
        elif reasons := process.unclean(self._clean, self._context.leftovers if self._used else []):
            self._leave(reasons)
        self._claim()
        if not self._over:
            self._prepare_attempt()
            self._thread = threading.Thread(target=self._train, name="training", daemon=True)
            self._thread.start()

    def _claim(self) -> None:
        """Has the store note the attempt's begin, once it is there."""
        trial_id = self._trial["trial_id"]
        self._last: Row = {}
        self._outcome: Row = {}
        self._work_dir = Path(tempfile.mkdtemp(prefix="attempt-"))
        root = Path(self._options["spool"])
        ended = any((folder / "ending.json").exists() for folder in leftovers.waiting(root, trial_id))
        patience = 0 if ended else self._options["patience"]  # an attempt before this one has waited
        try:
            self._claimed = patiently(
                lambda: claim(self._store, root, trial_id, self._work_dir, self._micro_batch), patience
            )
        except BaseException as error:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            if isinstance(error, OSError):
                raise self._away(error, root / trial_id) from None
            raise
        self._attempt = self._claimed.attempt
        if self._claimed.ended:
            self._outcome, self._over = self._claimed.ended, True
            shutil.rmtree(self._work_dir, ignore_errors=True)

    def _away(self, error: OSError, folder: Path) -> StoreAway:
        kept = f"What it measured is kept in {folder} on {platform.node()}. " if folder.exists() else ""
        return StoreAway(
            f"{self._trial['trial_id']}: {self._store.location} refuses files: {error}. {kept}"
            "The same command there writes it, and goes on."
        )

    def _warm(self) -> None:
        """Imports what the trainable needs, so that what libraries set when they are imported counts as clean."""
        with suppress(Exception):  # it is raised again where the trial's row can say so
            getattr(self._trainable, "warm", lambda: None)()

    def _leave(self, reasons: list[str]) -> None:
        """Ends this process; Tune starts the trial again, in a fresh one, which goes on with this log."""
        text = (
            f"The process of the trial before ({os.getpid()}) is not used again, since it is not clean: "
            f"{'; '.join(reasons)}. A fresh one was started."
        )
        print(f"[{self._trial['trial_id']}] {text}", flush=True)
        self._store.write_log(self._trial["trial_id"], f"{text}\n")
        ray.actor.exit_actor()

    def _prepare_attempt(self) -> None:
        trial_id, attempt = self._trial["trial_id"], self._attempt
        self._stop, self._trained = threading.Event(), threading.Event()
        self._cut_short = self._lost = False
        self._saves = Saves(self._work_dir, self._micro_batch)
        self._peaks: Row = {}
        self._reported_step: int | None = None
        self._reported_rows = 0
        # Tune may not know the last checkpoint of an attempt before, and would write the next one over it, file by file.
        self._storage.current_checkpoint_index = max(
            self._storage.current_checkpoint_index, self._claimed.last_checkpoint_number
        )
        self._folder = self._attempts_folder()
        with suppress(OSError):  # a full disk: the log is the least of what is measured
            (self._folder / "log").write_text(self._claimed.log)
        self._started_at = datetime.now(UTC)
        self._reporter = Reporter(
            lambda sequence, rows: self._write_part(trial_id, attempt, sequence, rows),
            spool=self._folder / "steps",
            patience=self._options["patience"],
        )
        self._trackers = self._make_trackers()
        self._context = self._make_context()

    def _make_trackers(self) -> Trackers:
        trial_id, sweep, settings = self._trial["trial_id"], self._options["sweep_name"], self._trial["settings"]
        return Trackers(
            ours(settings.get("report_to")),
            Run(trial_id, sweep, "trial", {**settings, **self._trial["axes"]}, settings.get("run_name")),
            self._claimed.earlier,
            place(self._store.local, sweep),
            self._work_dir,
            self._folder / "log",
        )

    def _attempts_folder(self) -> Path:
        """Where this attempt keeps what the store has not got: found again by a later command, if the disk has room for it."""
        folder = Path(self._options["spool"], self._trial["trial_id"], str(self._attempt))
        try:
            leftovers.protect(Path(self._options["spool"]))
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix="sweep-spool-", dir=self._scratch.parent))
        return folder

    def _make_context(self) -> Context:
        return Context(
            trial_id=self._trial["trial_id"],
            settings=self._trial["settings"],
            shared=self._shared,
            resolve=resolver(self._options["base"]),
            work_dir=self._work_dir,
            report=self._report,
            save=self._saves.offer,
            phase=self._enter,
            should_stop=self._should_stop,
            note=self._trackers.note,
            threads=self._options["threads"],
            verbose=self._options["verbose"],
            resume_from=self._claimed.checkpoint,
            earlier=self._claimed.earlier,
        )

    def _should_stop(self) -> bool:
        """For the training. Once it has heard yes, what it returns is no complete outcome."""
        self._cut_short |= self._stop.is_set()
        return self._cut_short

    def _write_part(self, trial_id: str, attempt: int, sequence: int, rows: list[Row]) -> None:
        try:
            self._store.write_step_part(trial_id, attempt, sequence, rows)
        except LockLost:
            self._lost = True
            self._stop.set()
            raise

    def _enter(self, phase: str, rows_left: int | None) -> None:
        self._phase = without_nulls({"phase": phase, "rows_left": rows_left})

    def _report(self, row: Row) -> None:
        self._phase = {}  # it trains: a phase that Tune was not told of in time is over
        for name in PEAKS:
            if row.get(name) is not None:
                self._peaks[name] = max(row[name], self._peaks.get(name, 0))
        self._reporter.put({"trial_id": self._trial["trial_id"], "attempt": self._attempt, **row})
        self._trackers.log(row)
        self._reported_step = row.get("step", self._reported_step)
        self._reported_rows += 1

    def _train(self) -> None:
        """The training thread: runs the trainable, turns whatever comes out of it into an outcome, and flushes."""
        try:
            with Output(self._folder / "log", echo=self._options["verbose"]):
                self._outcome = self._run_or_found()
        except BaseException as error:  # `step` waits for this thread's end: it must come
            self._outcome = classify(error)
        finally:
            self._trained.set()
            patience = 0.0 if self._lost else self._options["patience"]
            self._deadline: float = time.monotonic() + patience
            self._reporter.close(patience)

    def _run_or_found(self) -> Row:
        found = self._context.resume_from
        if found is not None and found.outcome is not None:
            return found.outcome  # it had ended; only its row is missing
        outcome = self._run()
        # Not those that an attempt before made beyond its checkpoint: this one's loss does not cover them.
        return {"status": "completed", **outcome, "steps": len(self._claimed.earlier) + self._reported_rows}

    def _run(self) -> Row:
        try:
            outcome = self._trainable.run(self._context)
        except BaseException as error:  # the thread's end is the trial's end, whatever it was
            traceback.print_exc()
            outcome = {**self._peaks, **self._context.so_far, **classify(error)}
            outcome["error_message"] = redact.text(outcome["error_message"])
            error.__traceback__ = None  # its frames hold the model
        if self._cut_short and outcome.get("status", "completed") == "completed":
            return {**outcome, "status": "interrupted"}  # why it was told to stop, only the driver knows
        return outcome

    # --- results ---------------------------------------------------------------------------------------------------

    def _result(self, rows: list[Row]) -> dict[str, Any]:
        if rows:
            self._last = seen_by_tune(rows, self._context.total_steps)
        return dict(self._last)

    def _hand_over_final(self) -> bool:
        """Gives the finished adapter or model to be kept, with the outcome in its seal; whether there was one."""
        if not self._offer_final():
            return False
        try:
            patiently(self._write_evals, self._left)
        except OSError:
            return False
        return True

    def _offer_final(self) -> bool:
        final, self._context.final = self._context.final, None
        if self._outcome["status"] in AGAIN:  # nothing final: the next attempt is to go on, not to find it
            return False
        if final is not None:
            self._saves.offer(final, self._last.get("step", 0), self._outcome)
        return final is not None

    def _write_evals(self) -> None:
        if self._context.evals:
            self._store.write_evals(self._trial["trial_id"], self._evals())
            self._context.evals = []

    def _evals(self) -> list[Row]:
        return [{"trial_id": self._trial["trial_id"], **row} for row in self._context.evals]

    @property
    def _left(self) -> float:
        """Seconds that the store has left, now that training is over."""
        return max(0.0, self._deadline - time.monotonic())

    def _wait_for_checkpoint(self) -> bool:
        """Whether the last checkpoint is still to be kept, and the store has time left to take it."""
        if self._saves.waiting is None or self._left == 0:
            return False
        time.sleep(0.05)
        return True

    def _finish(self) -> None:
        """Everything else is in the store before the trial's row is, so that a trial with a row is done."""
        self._over = True
        ending = self._ending()
        held = self._trackers.finish({"steps": self._reported_step, **ending.row})
        self._deadline += held  # the store has its time all the same
        trial_id, folder = self._trial["trial_id"], self._folder
        try:
            patiently(lambda: leftovers.land(self._store, folder, trial_id, self._attempt, ending), self._left)
        except OSError as error:
            ending.save(folder)
            raise self._away(error, folder) from None
        else:
            leftovers.remove(folder)
        finally:
            self._after()

    def _ending(self) -> leftovers.Ending:
        self._offer_final()
        waiting = self._saves.waiting
        row = {
            **self._trial["columns"],
            **self._outcome,
            "attempts": self._attempt,
            "gpus_per_trial": self._options["gpus"],
            "hostname": platform.node(),
            "provenance": json.dumps(
                {**self._options["provenance"], **self._trial["provenance"], "versions": versions()}
            ),
            "dropped_rows": self._reporter.missing - self._reporter.kept,
            "process_reused": self._used > 0,
            "started_at": self._started_at,
            "ended_at": datetime.now(UTC),
        }
        checkpoint = self._saves.sealed() if waiting and waiting.outcome else None
        return leftovers.Ending(row, self._trial["axes"], self._evals(), checkpoint)

    def _after(self) -> None:
        shutil.rmtree(self._work_dir, ignore_errors=True)
        self._used += 1
        if self._clean is not None:
            process.restore(self._clean)

    def _end_thread(self) -> None:
        """Stops the training, if any goes on, at its next step, and leaves its row."""
        if self._thread is None or self._over:
            return
        self._stop.set()
        self._thread.join()
        self._finish()

    def _note(self, text: str) -> None:
        print(f"[{self._trial['trial_id']}] {text}", flush=True)
