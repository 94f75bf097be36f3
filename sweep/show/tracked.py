"""After a sweep tracked with W&B, adds a run for the sweep itself, with the comparison and the recommendation."""

import re
import tempfile
from pathlib import Path

from sweep.answer.answer import Answer
from sweep.config.sweep_config import SweepConfig
from sweep.show.tables import flat, recommendation_text, warnings
from sweep.store.store import Store


def track(found: Answer, config: SweepConfig, store: Store) -> None:
    """Writes the run in a separate process, within bounded time. Failures are reported on standard error."""
    from sweep.trackers import trackers

    report_to = config.settings.get("report_to")
    if "wandb" not in trackers.managed(report_to):
        return
    # A run's id allows fewer characters than a sweep's name.
    run_id = f"{re.sub(r'[^A-Za-z0-9_.-]', '-', config.name)[:100]}-answer"
    run = trackers.Run(run_id, config.name, "summary", dict(config.settings), f"{config.name}: answer")
    names, rows = flat(found)
    pick = found.recommendation
    with tempfile.TemporaryDirectory(prefix="tracker-") as scratch:
        tracker = trackers.Trackers(["wandb"], run, [], trackers.tracker_dir(store.local, config.name), Path(scratch))
        tracker.table("comparison", names, [[row.get(name) for name in names] for row in rows])
        tracker.finish(
            {
                "recommendation": pick.label if pick else None,
                "recommended_trial": pick.trial_id if pick else None,
                "answer": recommendation_text(found),
                "basis": found.basis_text,
                "margin": found.margin,
                "warnings": warnings(found),
            }
        )
