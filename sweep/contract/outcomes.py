"""A trial's ending, for its row, and its progress, for Ray Tune."""

from collections.abc import Sequence

from sweep.store.store import Row

LONGEST = 2_000  # characters of an error's message that a row keeps; the log has all of it


def classify(error: BaseException) -> Row:
    """The columns `status`, `error_type` and `error_message` of a trial that raised."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    status = "oom" if is_out_of_memory(error) else "failed"
    return {"status": status, "error_type": kind, "error_message": str(error)[:LONGEST]}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator ran out of memory: torch's own error, or a RuntimeError whose text says so."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "cublas_status_alloc_failed" in text)


def seen_by_tune(rows: Sequence[Row], total_steps: int | None) -> Row:
    """A result for Tune: the newest row, and the steps and losses of the rows since the last result."""
    seen = without_nulls(rows[-1])
    seen.pop("timestamp", None)
    if total_steps:
        seen["total_steps"] = total_steps
    # A scheduler decides by held-out loss, which few rows have: the newest one counts.
    evaluated = [row["eval_loss"] for row in rows if row.get("eval_loss") is not None]
    if evaluated:
        seen["eval_loss"] = evaluated[-1]
    if len(rows) > 1:
        seen["between"] = {key: [row.get(key) for row in rows[:-1]] for key in ("step", "loss")}
    return seen


def without_nulls(outcome: Row) -> Row:
    return {key: value for key, value in outcome.items() if value is not None}
