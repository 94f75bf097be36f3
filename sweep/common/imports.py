"""Importing large libraries without looking for garbage in them."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Keeps the garbage collector off what is imported, now and later: looking at it while torch, transformers and TRL
    are imported takes a quarter of that time, and 0.3 s more after each trial."""
    gc.collect()  # what is garbage now would be kept for good
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
