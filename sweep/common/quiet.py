"""Keeps the libraries' banners, bars and chatter off the screen: a sweep has a display of its own."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

_HUGGING_FACE = ("datasets", "huggingface_hub", "transformers", "accelerate", "httpx")
_RAY = ("ray.tune", "ray.train", "ray")
_READ_AT_IMPORT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_SILENT": "true",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "HF_HUB_VERBOSITY": "error",
}


def set_quiet_environment() -> None:
    """For the whole process: settings that libraries read when they are imported; workers on this machine inherit them."""
    os.environ.update({key: value for key, value in _READ_AT_IMPORT.items() if key not in os.environ})


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of `datasets`, no log lines below an error from Hugging Face's libraries, until the block ends."""
    import datasets

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with _levels(_HUGGING_FACE, logging.ERROR):
            yield
    finally:
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def quiet_tune() -> Iterator[None]:
    """None of the banner and closing words that Tune prints whatever it is told, until the block ends."""
    with _levels(_RAY, logging.CRITICAL), Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def _levels(loggers: tuple[str, ...], level: int) -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)


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
