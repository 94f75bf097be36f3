"""Adds to an answer what was scored beside the held-out loss: bounds, losses of further sets, and warnings. It changes no pick."""

from collections.abc import Sequence
from dataclasses import replace

from sweep.answer.answer import Answer
from sweep.common.formatting import first_few
from sweep.scores import forgetting, matches
from sweep.store.loading import Sweep
from sweep.store.store import Row

_SETS, _GENERATION = "eval_dataset_name", "eval_generation"


def with_scores(sweep: Sweep, answer: Answer) -> Answer:
    """The answer to a sweep with the scores of its trials; the same where nothing was scored or asked for."""
    rows = [row for row in sweep.records() if row["status"] == "completed"]
    lacking = _missing(sweep, rows)
    if all(row.get("scoring_time_s") is None for row in rows):
        return replace(answer, warnings=(*answer.warnings, *lacking))
    right = matches.read(sweep)
    sets = forgetting.losses(sweep, answer.configurations)
    configurations = tuple(matches.with_bounds(one, right) for one in answer.configurations)
    scored = replace(answer, configurations=configurations, sets=sets)
    found = [*matches.warnings(right, scored), *forgetting.warnings(sweep, scored), *lacking]
    return replace(scored, warnings=(*answer.warnings, *found))


def _missing(sweep: Sweep, rows: Sequence[Row]) -> list[str]:
    """The trials without a score that their sweep asks for now."""
    without = []
    for row in rows:
        base = sweep.config_of(row).get("base") or {}
        if (base.get(_SETS) and row.get("forgetting") is None) or (
            base.get(_GENERATION) and row.get("exact_match") is None
        ):
            without.append(str(row["trial_id"]))
    if not without:
        return []
    return [
        f"{len(without)} of {len(rows)} completed trials lack scores that were asked for: {first_few(without)}. They had ended before "
        "that, or scoring failed, as their logs say. A finished trial is not scored again: to score all, run the sweep under another "
        "--name."
    ]
