"""What Ray Tune is told of a trial."""

from collections.abc import Sequence

from sweep.store import Row


def seen_by_tune(rows: Sequence[Row], total_steps: int | None) -> Row:
    """A result of Tune's: the newest row, and the steps and losses of those since the last result."""
    seen = without_nulls(rows[-1])
    seen.pop("timestamp", None)
    if total_steps:
        seen["total_steps"] = total_steps
    # A scheduler decides by held-out loss, which few rows have: the newest of these counts.
    evaluated = [row["eval_loss"] for row in rows if row.get("eval_loss") is not None]
    if evaluated:
        seen["eval_loss"] = evaluated[-1]
    if len(rows) > 1:
        seen["between"] = {key: [row.get(key) for row in rows[:-1]] for key in ("step", "loss")}
    return seen


def without_nulls(outcome: Row) -> Row:
    return {key: value for key, value in outcome.items() if value is not None}
