"""How an error ended a trial."""

from sweep.store import Row

LONGEST = 2_000  # characters of an error's message that a row keeps; all of it is in the log


def classify(error: BaseException) -> Row:
    """The columns `status`, `error_type` and `error_message` of a trial that raised."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    status = "oom" if is_out_of_memory(error) else "failed"
    return {"status": status, "error_type": kind, "error_message": str(error)[:LONGEST]}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator's memory ran out: torch's own error, or an allocator's or library's that only says so."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "cublas_status_alloc_failed" in text)
