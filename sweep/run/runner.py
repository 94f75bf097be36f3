"""Runs a plan under Ray Tune: on the driver, only this module and result_grid import ray."""

import contextlib
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrialState

from sweep import redact
from sweep.common.quiet import quiet_tune
from sweep.config.sweep_config import SweepConfig
from sweep.contract.admission import refusal
from sweep.contract.identity import fingerprints
from sweep.contract.loading import load_trainable
from sweep.errors import Complaint, ConfigError, StoreUnreachable
from sweep.live.state import Devices
from sweep.plan import admission
from sweep.plan.admission import Forecast
from sweep.plan.planning import Plan
from sweep.plan.shrink import Attempted, as_planned, shrunk
from sweep.policies.policy import Request
from sweep.run import access
from sweep.run.aftermath import reject, settled, store_errors_in_one_line, write_missing_rows
from sweep.run.chooser import Chooser
from sweep.run.searcher import PolicySearcher
from sweep.run.watch import Listener, ResultLog, Stopper, Watch, compared, interruptible, name_of
from sweep.space import smaller_ranks
from sweep.store.store import Row, Store
from sweep.trial.spec import SweepSpec, TrialSpec, request_name

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


def devices(config: SweepConfig, resources: Resources) -> Devices:
    """What trials run on now. Hangs or raises if Ray does not answer."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    slots = min(fits(nodes, resources), config.max_concurrent_trials or sys.maxsize)
    if not resources.gpus:
        return Devices("slots", slots, 1, slots)
    return Devices("GPUs", int(sum(node["Resources"].get("GPU", 0) for node in nodes)), resources.gpus, slots)


def services_address() -> str:
    """Where the gcs_server of the Ray that this driver has joined listens, as host:port."""
    return str(ray.get_runtime_context().gcs_address)


def unavailable() -> str | None:
    """Which part of the Ray that this driver has joined is gone; None if none is. Hangs or raises if nothing answers."""
    here = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] == here]
    return None if alive else "the raylet of this machine has ended"


def run(
    planned: Plan,
    chooser: Chooser,
    store: Store,
    shared: Any,
    provenance: Mapping[str, Any],
    listener: Listener,
    forecast: Forecast,
) -> bool:
    """Runs the trials that are wanted until they end; each has a row afterwards. Returns whether it was interrupted."""
    from sweep.store import leftovers

    trials, config = planned.trials, planned.config
    resources = connect(config)
    root = leftovers.spool_dir(store, planned.sweep_id)
    watch = Watch(listener, trials, store, config)
    with store_errors_in_one_line(store, root), interruptible() as stopper:
        watch.stopper = stopper
        try:
            attempts = _attempts(planned, forecast)
            searcher = _searcher(chooser, attempts, resources, store, root, watch, config)
            tuner = _tuner(searcher, attempts, planned, resources, store, root, shared, provenance, watch)
            with contextlib.nullcontext() if config.verbose else quiet_tune():
                _fit(tuner, stopper)
            leftovers.upload_all(store, root)
        finally:
            store.scrub()
        begun = [trial for trial in trials if trial.trial_id in chooser.begun]
        write_missing_rows(begun, store, watch.seen, stopper.stop_all())
    if stopper.away:
        raise StoreUnreachable(
            f"{store.location} could not be written to for too long, so the sweep was stopped. Run the same command to resume."
        )
    return stopper.stopped


def _attempts(planned: Plan, forecast: Forecast) -> dict[str, Attempted]:
    """All variants of the trials that may run, by the configuration that Tune gets."""
    again = [shrunk(trial) for trial in planned.trials] if planned.config.on_oom == "shrink" else []
    ways = (as_planned(planned.trials), [one for one in again if one is not None])
    return {_request(one): one for way in ways for one in admission.with_predictions(way, forecast)}


def _request(one: Attempted) -> str:
    return request_name(_space_of(one))


def _fit(tuner: Any, stopper: Stopper) -> None:
    """Runs Tune to its end. It reads its own error files back then, which a full disk may have cut off (EOFError)."""
    try:
        tuner.fit()
    except Exception:
        if not stopper.away:
            raise


def _tuner(
    searcher: PolicySearcher,
    attempts: Mapping[str, Attempted],
    planned: Plan,
    resources: Resources,
    store: Store,
    root: Path,
    shared: Any,
    provenance: Mapping[str, Any],
    watch: Watch,
) -> Any:
    from sweep.trial.tune_trial import TuneTrial

    config = planned.config
    spec = _spec(attempts, planned, resources, store, root, provenance)
    trainable = tune.with_parameters(TuneTrial, kind=load_trainable(config.trainable), shared=shared, sweep=spec)
    return tune.Tuner(
        tune.with_resources(trainable, {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,  # as many as the searcher has
            scheduler=_scheduler(config),
            reuse_actors=True,
            trial_name_creator=name_of,
            trial_dirname_creator=_folder,
        ),
        run_config=tune.RunConfig(
            name=_run_name(store),
            storage_path=f"{store.absolute}/tune",
            verbose=0,
            stop=watch.stopper,
            callbacks=[ResultLog(), watch],
            failure_config=tune.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # they are ours: see store/checkpoints.py
        ),
    )


def _searcher(
    chooser: Chooser,
    attempts: Mapping[str, Attempted],
    resources: Resources,
    store: Store,
    root: Path,
    watch: Watch,
    config: SweepConfig,
) -> PolicySearcher:
    def slots() -> float:
        if config.max_concurrent_trials is not None:
            return config.max_concurrent_trials
        # All of a grid's trials are wanted, and those that wait make a cluster grow. Others are asked for as slots are free.
        return fits(ray.nodes(), resources) if config.chooses else math.inf

    def row_of(trial_id: str) -> Row | None:
        if trial_id in watch.lost:
            watch.lost.discard(trial_id)
            return None
        return settled(chooser.candidates[trial_id], store, watch.seen, root)

    def config_of(request: Request) -> Row:
        one = shrunk(request.trial) if request.shrink else Attempted(request.trial, {})
        assert one is not None, "a trial that can be shrunk"
        return {"trial": _space_of(one)}

    known = config.admit == "fit" and any(one.predicted_bytes is not None for one in attempts.values())
    nodes = None if config.cluster is None else ray.nodes()
    rooms = admission.rooms(config, resources.gpus, nodes) if known else []

    def refused(found: Row) -> Row | None:
        one = attempts[request_name(found["trial"])]
        if (why := refusal(one.predicted_bytes, rooms)) is None:
            return None
        reject(one, store, why)
        watch.rejected(one.trial.trial_id)
        return settled(one.trial, store, watch.seen, root)

    return PolicySearcher(chooser, slots, row_of, config_of, refused, watch.stopper, config.storage_patience_s)


def fits(nodes: Sequence[Mapping[str, Any]], resources: Resources) -> int:
    """How many trials run at once on the nodes that are there."""
    asked = {"CPU": resources.cpus, "GPU": resources.gpus}
    having = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(int(one.get(key, 0) / amount) for key, amount in asked.items() if amount) for one in having)


def _spec(
    attempts: Mapping[str, Attempted],
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
        trials={name: _trial_spec(one, planned) for name, one in attempts.items()},
    )


def _trial_spec(one: Attempted, planned: Plan) -> TrialSpec:
    name = one.trial.trial_id
    made_of = fingerprints(planned.made_of, name)
    smaller = smaller_ranks(one.trial.lora_r, planned.config.lora_r)
    axes = one.trial.axis_columns()
    return TrialSpec(name, one.settings, one.columns, axes, made_of, one.columns["micro_batch"], smaller)


def _folder(trial: TuneTrialState) -> str:
    """Where Tune keeps its files of a trial: one that is shrunk was in this run before."""
    return request_name(trial.config["trial"])


def _space_of(one: Attempted) -> Row:
    """What Tune shows of a trial as its configuration."""
    trial, micro = one.trial, one.columns["micro_batch"]
    shown = {"trial_id": trial.trial_id, "lora_r": trial.lora_r, "seed": trial.seed, **trial.axis_columns()}
    return {**{key: redact.value(value) for key, value in shown.items()}, **({"micro_batch": micro} if micro else {})}


def _run_name(store: Store) -> str:
    """A separate folder for each driver, so that `Tuner.restore` finds all of one run and nothing else."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}-{os.getpid()}"


def _scheduler(config: SweepConfig) -> Any:
    if config.scheduler == "fifo":
        return None
    steps = int(config.settings.get("max_steps") or 0)
    end = config.asha_max_t or (steps if steps > 0 else 10**9)
    return tune.schedulers.ASHAScheduler(
        time_attr="step",
        metric=compared(config),
        mode="min",
        max_t=end,
        grace_period=min(config.asha_grace_period, end),
        reduction_factor=config.asha_reduction_factor,
        brackets=config.asha_brackets,
        # Unless it is asked for, a trial that has come to its last step is not stopped before it is evaluated and saved.
        stop_last_trials=config.asha_max_t is not None,
    )
