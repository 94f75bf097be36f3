"""Runs a plan under Ray Tune: on the driver, only this module and result_grid import ray."""

import contextlib
import logging
import os
import signal
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrialState
from ray.tune.logger import JsonLoggerCallback

from sweep import redact
from sweep.common.quiet import quiet_tune
from sweep.config.sweep_config import SweepConfig
from sweep.contract.identity import fingerprints
from sweep.contract.loading import load_trainable
from sweep.errors import Complaint, ConfigError, StoreUnreachable
from sweep.plan import admission
from sweep.plan.admission import Forecast
from sweep.plan.planning import Plan
from sweep.plan.shrink import Attempted, as_planned, to_shrink
from sweep.run import access, ray_internals
from sweep.run.aftermath import Seen, note_pruned, reject, store_errors_in_one_line, write_missing_rows
from sweep.run.restarts import Restarts
from sweep.space import Trial, smaller_ranks
from sweep.store.store import Row, Store
from sweep.trial.spec import SweepSpec, TrialSpec

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # one result log is enough: ours are in Parquet
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours lets trials leave their rows
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # not every result has the scheduler's metric
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a trial without a GPU hides them itself, whoever started the node
}


class Listener(Protocol):
    """Receives trials' events, in the driver's thread."""

    def started(self, trial_id: str) -> None: ...
    def phase(self, trial_id: str, phase: str, rows_left: int | None) -> None: ...
    def row(self, trial_id: str, result: Mapping[str, Any]) -> None: ...
    def ended(self, trial_id: str, status: str) -> None: ...


@dataclass(frozen=True)
class Resources:
    """What a trial takes, and what is there for it."""

    gpus: float
    cpus: float
    nodes: int


def connect(config: SweepConfig) -> Resources:
    """Joins or starts Ray, quietly, and says what trials can have.

    Raises:
        ConfigError: no cluster answers at the address, or what trials have is for the user to say.
    """
    if not ray.is_initialized():
        address = config.cluster
        try:
            with _our_handlers():
                start(address, config.verbose)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError([f"no Ray cluster answers at {address!r}: {str(error).splitlines()[0]}"]) from error
    nodes = [node for node in ray.nodes() if node["Alive"]]
    most = max((node["Resources"].get("GPU", 0) for node in nodes), default=0)
    gpus = config.gpus_per_trial
    if gpus is None and not most and (cluster := config.cluster):
        raise ConfigError(
            [
                Complaint(
                    "gpus_per_trial",
                    f" is missing: no node of the cluster at {cluster} has a GPU now. Add --gpus_per_trial 1 to wait for "
                    "nodes that have one, or --gpus_per_trial 0 to train on the CPU.",
                )
            ]
        )
    return Resources((1 if most else 0) if gpus is None else gpus, config.cpus_per_trial, len(nodes))


def start(address: str | None, verbose: bool) -> None:
    """Joins the cluster at an address, or starts a Ray here."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    quiet = {"log_to_driver": verbose, "logging_level": logging.INFO if verbose else logging.ERROR}
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    if not address:
        access.protect()
    ray.init(address=address or "local", **quiet, **local)


@contextlib.contextmanager
def _our_handlers() -> Iterator[None]:
    """Restores our SIGTERM handler: Ray installs its own, which ends the process with 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def unavailable() -> str | None:
    """Which part of the Ray that this driver has joined is gone; None if none is. Hangs or raises if nothing answers."""
    here = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] == here]
    return None if alive else "the raylet of this machine has ended"


def run(
    planned: Plan,
    store: Store,
    shared: Any,
    provenance: Mapping[str, Any],
    listener: Listener,
    forecast: Forecast,
) -> bool:
    """Runs a plan's trials until they end; each has a row afterwards. Returns whether it was interrupted."""
    from sweep.store import leftovers

    trials, config = planned.todo, planned.config
    resources = connect(config)
    root = leftovers.spool_dir(store, planned.sweep_id)
    watch = _Watch(listener, trials, store, config)
    with store_errors_in_one_line(store, root), _interruptible() as stopper:
        watch.stopper = stopper

        def attempt(trials: Sequence[Attempted]) -> None:
            foreseen = [] if stopper.stop_all() else admission.with_predictions(trials, forecast)
            if admitted := _admitted(foreseen, resources, config, store, listener):
                tuner = _tuner(admitted, planned, resources, store, root, shared, provenance, watch)
                with contextlib.nullcontext() if config.verbose else quiet_tune():
                    _fit(tuner, stopper)
                leftovers.upload_all(store, root)

        try:
            before = to_shrink(trials, store)  # an earlier command's
            attempt(as_planned([trial for trial in trials if trial not in [one.trial for one in before]]))
            if config.on_oom == "shrink":
                attempt(to_shrink(trials, store, ("oom", "rejected")))
        finally:
            store.scrub()
        write_missing_rows(trials, store, watch.seen, stopper.stop_all())
    if stopper.away:
        raise StoreUnreachable(
            f"{store.location} could not be written to for too long, so the sweep was stopped. Run the same command to resume."
        )
    return stopper.stopped


def _admitted(
    trials: Sequence[Attempted], resources: Resources, config: SweepConfig, store: Store, listener: Listener
) -> Sequence[Attempted]:
    """Without those that fit no card, which get their rows."""
    if config.admit == "all" or all(one.predicted_bytes is None for one in trials):
        return trials
    nodes = None if config.cluster is None else ray.nodes()
    fitting, refused = admission.parted(trials, admission.rooms(config, resources.gpus, nodes))
    for one in trials:
        if why := refused.get(one.trial.trial_id):
            reject(one, store, why)
            listener.ended(one.trial.trial_id, "rejected")
    return fitting


def _fit(tuner: Any, stopper: "_Stopper") -> None:
    """Runs Tune to its end. It reads its own error files back then, which a full disk may have cut off (EOFError)."""
    try:
        tuner.fit()
    except Exception:
        if not stopper.away:
            raise


def _tuner(
    trials: Sequence[Attempted],
    planned: Plan,
    resources: Resources,
    store: Store,
    root: Path,
    shared: Any,
    provenance: Mapping[str, Any],
    watch: "_Watch",
) -> Any:
    from sweep.trial.tune_trial import TuneTrial

    config = planned.config
    spec = _spec(trials, planned, resources, store, root, provenance)
    trainable = tune.with_parameters(TuneTrial, kind=load_trainable(config.trainable), shared=shared, sweep=spec)
    return tune.Tuner(
        tune.with_resources(trainable, {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}),
        param_space={"trial": tune.grid_search([_space_of(one.trial) for one in trials])},
        tune_config=tune.TuneConfig(
            scheduler=_scheduler(config),
            max_concurrent_trials=config.max_concurrent_trials,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=_run_name(store),
            storage_path=f"{store.absolute}/tune",
            verbose=0,
            stop=watch.stopper,
            callbacks=[_ResultLog(), watch],
            failure_config=tune.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # they are ours: see store/checkpoints.py
        ),
    )


def _spec(
    trials: Sequence[Attempted],
    planned: Plan,
    resources: Resources,
    store: Store,
    root: Path,
    provenance: Mapping[str, Any],
) -> SweepSpec:
    config = planned.config
    return SweepSpec(
        name=config.name,
        location=store.absolute,
        nonce=store.nonce,
        base=str(Path.cwd()),
        spool=str(root),
        threads=0 if resources.gpus else max(1, int(resources.cpus)),
        gpus=resources.gpus,
        must_fit=config.admit == "fit",
        patience_s=config.storage_patience_s,
        verbose=config.verbose,
        provenance=dict(provenance),
        trials={one.trial.trial_id: _trial_spec(one, planned) for one in trials},
    )


def _trial_spec(one: Attempted, planned: Plan) -> TrialSpec:
    name = one.trial.trial_id
    made_of = fingerprints(planned.made_of, name)
    smaller = smaller_ranks(one.trial.lora_r, planned.config.lora_r)
    axes = one.trial.axis_columns()
    return TrialSpec(name, one.settings, one.columns, axes, made_of, one.columns["micro_batch"], smaller)


def _name(trial: TuneTrialState) -> str:
    return str(trial.config["trial"]["trial_id"])


def _space_of(trial: Trial) -> Row:
    """What Tune shows of a trial as its configuration."""
    shown = {"trial_id": trial.trial_id, "lora_r": trial.lora_r, "seed": trial.seed, **trial.axis_columns()}
    return {key: redact.value(value) for key, value in shown.items()}


def _run_name(store: Store) -> str:
    """A folder of its own for each driver: `Tuner.restore` then finds all of a run, and only it."""
    taken = datetime.now(UTC)
    return f"{taken:%Y%m%d-%H%M%S}-{taken.microsecond:06d}-{os.getpid()}"


def _scheduler(config: SweepConfig) -> Any:
    if config.scheduler == "fifo":
        return None
    steps = int(config.settings.get("max_steps") or 0)
    end = config.asha_max_t or (steps if steps > 0 else 10**9)
    return tune.schedulers.ASHAScheduler(
        time_attr="step",
        metric=_compared(config),
        mode="min",
        max_t=end,
        grace_period=min(config.asha_grace_period, end),
        reduction_factor=config.asha_reduction_factor,
        brackets=config.asha_brackets,
        # Unless it is asked for, a trial that has come to its last step is not stopped before it is evaluated and saved.
        stop_last_trials=config.asha_max_t is not None,
    )


def _compared(config: SweepConfig) -> str:
    """What a scheduler decides by."""
    return "eval_loss" if config.settings.get("eval_strategy", "no") != "no" else "loss"


class _ResultLog(JsonLoggerCallback):  # type: ignore[misc]  # ray has no types
    """Tune's own, without the results that only say that an attempt was claimed, or what a trial does."""

    def log_trial_result(self, iteration: int, trial: TuneTrialState, result: Row) -> None:
        if _says_something(result):
            super().log_trial_result(iteration, trial, result)


def _says_something(result: Row) -> bool:
    return "step" in result or "status" in result


class _Watch(tune.Callback):  # type: ignore[misc]  # ray has no types
    """Passes Tune's events on, and keeps how each trial ended and what its process died of."""

    def __init__(self, listener: Listener, trials: Sequence[Trial], store: Store, config: SweepConfig) -> None:
        self._listener = listener  # not kept by Tune, which writes its callbacks down: a live display cannot be pickled
        self._trials, self._store, self._compared = trials, store, _compared(config)
        self._restarts = Restarts(config.max_failures)
        self.stopper = _Stopper()
        self.seen = Seen()

    def __getstate__(self) -> Row:
        return {key: value for key, value in vars(self).items() if key not in ("_listener", "_trials")}

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        self._restarts.started(trial)
        note_pruned(self._trials, self._store, self.seen)
        self.seen.unfinished.setdefault(_name(trial), {})
        self._listener.started(_name(trial))

    def on_trial_result(self, iteration: int, trials: Any, trial: TuneTrialState, result: Row, **info: Any) -> None:
        self._restarts.heard(trial)
        if "phase" in result:
            self._listener.phase(_name(trial), result["phase"], result.get("rows_left"))
        if _says_something(result):
            self.seen.unfinished[_name(trial)] = result
            self._listener.row(_name(trial), result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        last = self.seen.unfinished.pop(_name(trial), {})
        if (
            "status" not in last
        ):  # not its own ending, so the scheduler's decision: when all are to stop, this is not called
            found = {"pruned_step": last.get("step"), "pruned_value": last.get(self._compared)}
            self.seen.pruned[_name(trial)] = {**found, "pruned_metric": self._compared}
        ray_internals.forget_running_means(trial)
        self._listener.ended(_name(trial), last.get("status", "pruned"))

    def on_trial_recover(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        self._restarts.restarted(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrialState, **info: Any) -> None:
        text = ray_internals.last_error(trial)
        self.stopper.away |= StoreUnreachable.__name__ in text
        self.seen.died(_name(trial), text)
        self._listener.ended(_name(trial), "failed")


class _Stopper(tune.Stopper):  # type: ignore[misc]  # ray has no types
    """Ends all trials once asked to, or once the store has stayed unreachable."""

    stopped = away = False

    def __call__(self, trial_id: str, result: Row) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stopped or self.away


@contextlib.contextmanager
def _interruptible() -> Iterator[_Stopper]:
    """Ctrl-C lets trials end at their next step and leave rows; a second one ends the driver at once."""
    stopper = _Stopper()

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        if stopper.stopped:
            raise KeyboardInterrupt
        stopper.stopped = True

    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
