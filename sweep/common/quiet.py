"""Keeps the Hugging Face libraries' bars and chatter off the screen while our code calls them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTY = ("datasets", "huggingface_hub", "transformers", "accelerate", "httpx")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of `datasets`, no log lines below an error from the libraries, until the block ends."""
    import datasets

    bars = datasets.are_progress_bars_disabled()
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    datasets.disable_progress_bars()
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def warnings_of(logger: str) -> Iterator[list[str]]:
    """Collects what a library logs as a warning or worse instead of showing it."""
    said: list[str] = []
    handler = _Collector(said)
    target = logging.getLogger(logger)
    passing, target.propagate = target.propagate, False
    target.addHandler(handler)
    try:
        yield said
    finally:
        target.removeHandler(handler)
        target.propagate = passing


class _Collector(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.into = into

    def emit(self, record: logging.LogRecord) -> None:
        self.into.append(record.getMessage())
