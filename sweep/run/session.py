"""One command's session with a sweep: locks its folder, uploads pending results, runs remaining trials, and reports."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sweep.common import provenance
from sweep.common.names import Resolve
from sweep.contract import identity
from sweep.contract.trainable import Trainable
from sweep.errors import NotASweep
from sweep.plan import admission
from sweep.plan import planning as plan
from sweep.plan.admission import Forecast
from sweep.plan.planning import Plan
from sweep.run import watchdog
from sweep.run.aftermath import store_errors_in_one_line
from sweep.run.chooser import Chooser, Record, is_recorded
from sweep.run.progress import Progress
from sweep.run.watchdog import Witness
from sweep.store import leftovers, lock
from sweep.store.store import Store

OF_ANOTHER = (
    "holds results of another sweep that was at this location. They are left there; remove them if they are not wanted."
)


@dataclass(frozen=True)
class Session:
    """A plan after its run, with the folder still locked by this command. `asked` are the trials that the policy requested."""

    planned: Plan
    store: Store
    asked: Collection[str]
    interrupted: bool = False


@contextmanager
def run(planned: Plan, store: Store, trainable: Trainable, resolve: Resolve, forecast: Forecast) -> Iterator[Session]:
    """Runs a plan's remaining trials, if any, and keeps the folder locked until the answer is written.

    Args:
        forecast: predicts the trials' memory, if that is compared with a card or a measurement.

    Raises:
        SweepInUse: another driver runs the sweep.
        StoreUnreachable: results or the answer cannot be written to the store.
    """
    root = leftovers.spool_dir(store, planned.sweep_id)
    for folder in leftovers.of_other_sweeps(store, root):
        print(f"{folder} {OF_ANOTHER}", file=sys.stderr)
    wanted = chooser_of(planned, store).wanted
    if wanted.done and not leftovers.pending(root) and is_recorded(wanted, store):
        yield Session(planned, store, wanted.asked)
        return
    with (
        lock.held(store, lambda error: witness.end(str(error))) as store,
        watchdog.witnessed(store) as witness,
    ):
        with store_errors_in_one_line(store, root):
            leftovers.upload_all(store, root)
        # With those, and with what another driver may have done meanwhile.
        planned = plan.make_plan(planned.config, store, planned.made_of)
        root = leftovers.spool_dir(store, planned.sweep_id)
        chooser = chooser_of(planned, store)
        done = chooser.wanted.done
        interrupted = not done and _run(planned, chooser, store, trainable, resolve, forecast, witness)
        with store_errors_in_one_line(store, root):
            if done:
                _record(planned, chooser, store)
            yield Session(planned, store, chooser.wanted.asked, interrupted)


def _record(planned: Plan, chooser: Chooser, store: Store) -> None:
    """Records this command's policy and its decisions where no trial is left to run: a driver that was killed may not have."""
    content = plan.merge(store.read_sweep(), plan.content(planned.config, planned.trials, planned.made_of))
    store.write_sweep(content)
    Record(store, content, chooser.candidates)(chooser.wanted)


def chooser_of(planned: Plan, store: Store) -> Chooser:
    return Chooser.of(planned, plan.content(planned.config, planned.trials, planned.made_of), store)


def _run(
    planned: Plan,
    chooser: Chooser,
    store: Store,
    trainable: Trainable,
    resolve: Resolve,
    forecast: Forecast,
    witness: Witness,
) -> bool:
    """Runs the trials to their ends; returns whether that was interrupted."""
    shared, notes = trainable.prepare(planned.todo, resolve)
    now, before = plan.content(planned.config, planned.trials, planned.made_of), {}
    with suppress(NotASweep):
        before = store.read_sweep()
    from sweep.run import runner  # ray

    resources = runner.connect(planned.config)  # before anything is written: nothing may answer
    if not admission.predicts_memory(planned.config, resources.gpus):
        forecast = admission.no_forecast
    forecast(planned.todo)  # now, while Ctrl-C ends it at once
    origin = {"versions": provenance.versions(), **provenance.git(), **notes}
    known = {"id": planned.sweep_id} if planned.sweep_id else {}
    summary = {"provenance": {**origin, **identity.summary(planned.made_of)}}
    content = {**known, **plan.merge(before, now), "loss_unit": trainable.LOSS_UNIT, **summary}
    store.write_sweep(content)
    record = Record(store, content, chooser.candidates)

    def lost(why: str) -> None:
        with suppress(Exception):  # what Tune wrote of itself, while there is somebody to do it
            store.scrub()
        witness.end(f"Ray's services are gone ({why})")

    config = planned.config
    progress = Progress(planned.trials, planned.ended, chooses=config.chooses, quiet=config.quiet)

    def look() -> str | None:
        progress.runs_on(runner.devices(config, resources))
        return runner.unavailable()

    progress.runs_on(runner.devices(config, resources))
    services = runner.services_address()
    with progress, watchdog.watching(look, lost, lambda: watchdog.listens(services)):
        chooser.notify(record, progress.decided)
        return runner.run(planned, chooser, store, shared, origin, progress, forecast)
