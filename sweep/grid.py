"""Compares LoRA ranks: configuration → trials → plan → runner → answer.

python -m sweep.grid [--lora_r 8 16 full] [--seeds 0 1] [--model_name_or_path M] [--dataset_name D] [--dry_run]
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from sweep import redact
from sweep.common.imports import uncollected
from sweep.config import command_line
from sweep.errors import ConfigError, LockLost, StoreAway, SweepError

OK, SOME_FAILED, BAD_CONFIGURATION, INTERRUPTED = 0, 1, 2, 130
FINE = {"completed", "pruned"}
OF_ANOTHER = (
    "what waits there is of another sweep that was at this place. It is left there; remove it if it is not wanted."
)
GO_ON = "Interrupted. The same command goes on from here."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--help" in words or "-h" in words:
        print(command_line.help_text())
        return OK
    try:
        if "--help_all" in words:
            print(command_line.help_text() + command_line.help_of_settings(words))
            return OK
        with _terminable():
            return _sweep(words)
    except (StoreAway, LockLost) as error:
        print(redact.urls(str(error)), file=sys.stderr)
        return SOME_FAILED
    except SweepError as error:
        print(redact.urls(str(error)), file=sys.stderr)
        return BAD_CONFIGURATION
    except KeyboardInterrupt:
        print(GO_ON, file=sys.stderr)
        return INTERRUPTED


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is as Ctrl-C, from the first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command() -> NoReturn:
    """`main` in a process of its own."""
    from sweep.trial import scratch

    folder = scratch.settle(alone=True)  # Ray has its files elsewhere, and its processes theirs
    try:
        code = main()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Ends the process. After an interrupt not by the usual way: a Ray that was half started aborts there (134)."""
    ray = sys.modules.get("ray")
    if code == INTERRUPTED:
        if ray is not None and ray.is_initialized():
            ray.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _sweep(words: list[str]) -> int:
    from sweep.common.quiet import quieten
    from sweep.config.layers import verbose
    from sweep.plan import planning as plan
    from sweep.run import watchdog
    from sweep.run.aftermath import one_line
    from sweep.store import leftovers, lock
    from sweep.store.store import Store

    if not verbose(words):
        quieten()
    config, trainable, resolve = _checked(words)
    store = Store(config.location)
    made_of = trainable.identify(config.trials(), resolve)
    planned = plan.make(config, store, made_of)
    if config.dry_run:
        from sweep.plan.dry_run import show

        show(planned, trainable.footprints(planned.todo, resolve), trainable.lengths(planned.todo, resolve))
        return OK
    root = leftovers.place(store, planned.sweep_id)
    for folder in leftovers.of_others(store, root):
        print(f"{folder}: {OF_ANOTHER}", file=sys.stderr)
    if not planned.todo and not leftovers.waiting(root):
        return _answer(config, store, planned, False)
    with (
        lock.held(store, lambda error: witness.end(str(error))) as store,
        watchdog.witnessed(store) as witness,
    ):
        with one_line(store, root):
            leftovers.write_all(store, root)
        planned = plan.make(config, store, made_of)  # with those, and with what another driver may have done meanwhile
        root = leftovers.place(store, planned.sweep_id)
        interrupted = bool(planned.todo) and _run(planned, store, trainable, resolve, witness)
        with one_line(store, root):
            return _answer(config, store, planned, interrupted)


def _checked(words: list[str]) -> tuple[Any, Any, Any]:
    """The configuration, its trainable and how it finds local names.

    Raises:
        ConfigError: with everything that is wrong.
    """
    from sweep.common.names import resolver
    from sweep.config import configs, layers, machine, values
    from sweep.contract.loading import load_trainable

    with uncollected():
        cuda = _cuda_devices()
        found, problems = layers.resolve(words, bool(cuda))
    if found is None:
        raise ConfigError(problems)
    trainable = None
    try:
        trainable = load_trainable(found.trainable)()
    except ConfigError as error:
        problems += error.complaints
    redact.learn(found.settings)
    trials, resolve = found.trials(), resolver(str(Path.cwd()))
    problems += machine.check(found, cuda)
    problems += values.of_trials(trials)
    if trainable:
        problems += configs.check(found, trainable.CONFIGS)
        problems += trainable.check_machine(trials, machine.as_told(found, cuda))
        problems += trainable.check(trials, resolve)
    if problems:
        raise ConfigError(found.blamed(problems))
    if not cuda and found.sources.get("preset") == "preset demo":
        print(
            "No CUDA device here: running the preset `demo` on the CPU. A real sweep: --preset opt-350m-codealpaca.",
            file=sys.stderr,
        )
    return found, trainable, resolve


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _run(planned: Any, store: Any, trainable: Any, resolve: Any, witness: Any) -> bool:
    from sweep.common import provenance
    from sweep.contract import identity
    from sweep.errors import NotASweep
    from sweep.plan import planning as plan
    from sweep.run import watchdog
    from sweep.run.progress import Progress

    shared, notes = trainable.prepare(planned.todo, resolve)
    now = plan.content(planned.config, planned.trials, planned.made_of)
    try:
        before = store.read_sweep()
        plan.refuse_other(before, now, planned.config.location)
    except NotASweep:
        before = {}
    from sweep.run import runner

    runner.connect(planned.config)  # before anything is written: nothing may answer
    origin = {"versions": provenance.versions(), **provenance.git(), **notes}
    known = {"id": planned.sweep_id} if planned.sweep_id else {}
    summary = {"provenance": {**origin, **identity.summary(planned.made_of)}}
    store.write_sweep({**known, **plan.merged(before, now), "loss_unit": trainable.LOSS_UNIT, **summary})

    def lost(why: str) -> None:
        with suppress(Exception):  # what Tune wrote of itself, while there is somebody to do it
            store.scrub()
        witness.end(f"Ray's services are gone ({why})")

    with Progress(planned.trials, planned.ended) as progress, watchdog.watching(runner.unavailable, lost):
        return runner.run(planned, store, shared, origin, progress)


def _answer(config: Any, store: Any, planned: Any, interrupted: bool) -> int:
    from sweep import analysis
    from sweep.show import tracked
    from sweep.show.page import write_page

    sweep = analysis.load(config.location)
    found = analysis.answer(sweep, margin=config.margin)
    print(analysis.render(found, "table"))
    try:
        print(f"Report: {write_page(sweep, found)}", file=sys.stderr)
    except SweepError as error:
        print(f"warning: {error} (python -m sweep.report {config.location})", file=sys.stderr)
    if not interrupted:
        tracked.track(found, config, store)
    ids = {trial.trial_id for trial in planned.trials}
    columns = ["trial_id", "status", "log", "error_message"]
    rows = [row for row in store.trials().select(columns).to_pylist() if row["trial_id"] in ids]
    for row in rows:
        if row["status"] not in FINE:
            print(_ending(row, store), file=sys.stderr)
    if interrupted:
        print(GO_ON, file=sys.stderr)
        return INTERRUPTED
    return OK if len(rows) == len(ids) and all(row["status"] in FINE for row in rows) else SOME_FAILED


def _ending(row: Any, store: Any) -> str:
    """A trial that did not complete, in one line."""
    message = (row["error_message"] or "").strip().splitlines()
    why = f": {message[-1]}" if message else ""
    where = f"; log: {store.uri(row['log'])}" if row["log"] else ""
    return f"{row['trial_id']}: {row['status']}{why}{where}"


if __name__ == "__main__":
    _command()
