"""Compares LoRA ranks: configuration → trials → plan → runner → answer.

python -m sweep.grid [--lora_r 8 16 full] [--seeds 0 1] [--model_name_or_path M] [--dataset_name D] [--dry_run]
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep import redact
from sweep.config import command_line
from sweep.errors import SweepError
from sweep.run import driver

if TYPE_CHECKING:
    from sweep.common.names import Resolve
    from sweep.config.sweep_config import SweepConfig
    from sweep.contract.trainable import Trainable
    from sweep.run.session import Session
    from sweep.store.store import Row, Store

OK, SOME_FAILED, INTERRUPTED = 0, 1, driver.INTERRUPTED
FINE = {"completed", "pruned"}
DEMO_INSTEAD = "No CUDA device here: running the preset `demo` on the CPU. A real sweep: --preset opt-350m-codealpaca."
GO_ON = "Interrupted. Run the same command to resume."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if shown := command_line.help_asked(words):
            print(shown)
            return OK
        with driver.terminable():
            return _sweep(words)
    except SweepError as error:
        print(redact.urls(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(GO_ON, file=sys.stderr)
        return INTERRUPTED


def _sweep(words: list[str]) -> int:
    from sweep.common.quiet import notice, notices, set_quiet_environment
    from sweep.config import layers
    from sweep.plan.checked import checked

    layers.set_environment(words)
    if not layers.verbose(words):
        set_quiet_environment()
    config, trainable, resolve = checked(words)
    with notices(not config.quiet):
        for note in config.notes:
            notice(f"note: {note}")
        if config.source("preset") == f"preset {layers.DEMO}":  # nobody asked for it
            notice(DEMO_INSTEAD)
        return _run(config, trainable, resolve)


def _run(config: "SweepConfig", trainable: "Trainable", resolve: "Resolve") -> int:
    from sweep.estimate.peaks import PredictedPeaks
    from sweep.plan import admission, dry_run, planning
    from sweep.run import session
    from sweep.store.store import Store

    store = Store(config.location)
    planned = planning.make_plan(config, store, trainable.identify(config.trials(), resolve))
    forecast = PredictedPeaks(trainable, resolve)
    if config.dry_run:
        sizes, lengths = trainable.footprints(planned.todo, resolve), trainable.lengths(planned.todo, resolve)
        rooms = admission.known_rooms(config)
        wanted = session.chooser_of(planned, store).wanted
        first = [one.trial for one in wanted.trials]
        peaks, scored = forecast(planned.todo), trainable.scored(planned.todo, resolve)
        dry_run.show(planned, dry_run.Preview(sizes, lengths, peaks, rooms, first, wanted.at_most, scored))
        return OK
    with session.run(planned, store, trainable, resolve, forecast) as held:
        return _answer(held)


def _answer(session: "Session") -> int:
    """Prints the answer, writes the report, and says which trials did not complete; returns the exit code."""
    from sweep import analysis
    from sweep.common.quiet import notice
    from sweep.show import tracked
    from sweep.show.page import write_page

    config, store = session.planned.config, session.store
    sweep = analysis.load(config.location)
    found = analysis.answer(sweep, margin=config.margin)
    print(analysis.render(found, "table"))
    try:
        notice(f"Report: {write_page(sweep, found)}")
    except SweepError as error:
        print(f"warning: {error} (python -m sweep.report {config.location})", file=sys.stderr)
    if not session.interrupted:
        tracked.track(found, config, store)
    ids = set(session.asked)
    columns = ["trial_id", "status", "log", "error_message"]
    rows = [row for row in store.trials().select(columns).to_pylist() if row["trial_id"] in ids]
    fine = FINE | {"diverged"} if config.tune else FINE  # a rate that is too high was found out
    for row in rows:
        if row["status"] not in fine:
            print(_ending(row, store), file=sys.stderr)
    if session.interrupted:
        print(GO_ON, file=sys.stderr)
        return INTERRUPTED
    return OK if len(rows) == len(ids) and all(row["status"] in fine for row in rows) else SOME_FAILED


def _ending(row: "Row", store: "Store") -> str:
    """A trial that did not complete, in one line."""
    message = (row["error_message"] or "").strip().splitlines()
    why = f": {message[-1]}" if message else ""
    where = f"; log: {store.uri(row['log'])}" if row["log"] else ""
    return f"{row['trial_id']}: {row['status']}{why}{where}"


if __name__ == "__main__":
    driver.command(main)
