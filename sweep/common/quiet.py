"""Silences the libraries' banners, progress bars and log chatter, since a sweep has its own display; and that, if asked to."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
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

_notices = ContextVar("notices", default=True)


def notice(text: str) -> None:
    """Says on standard error what goes on. Warnings and errors are none of these: they are printed whatever was asked."""
    if _notices.get():
        print(text, file=sys.stderr)


@contextmanager
def notices(shown: bool) -> Iterator[None]:
    """Within the block, notices are shown or not."""
    before = _notices.set(shown)
    try:
        yield
    finally:
        _notices.reset(before)


def set_quiet_environment() -> None:
    """Sets the environment variables that libraries read at import, unless set; workers on this machine inherit them."""
    os.environ.update({key: value for key, value in _READ_AT_IMPORT.items() if key not in os.environ})


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, `datasets` shows no progress bars and Hugging Face's libraries log errors only."""
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
    """Within the block, suppresses the banner and closing lines that Tune prints whatever its verbosity."""
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
    """Collects a logger's messages of level WARNING and above instead of showing them."""
    messages: list[str] = []
    handler = _Collector(messages)
    target = logging.getLogger(logger)
    passing, target.propagate = target.propagate, False
    target.addHandler(handler)
    try:
        yield messages
    finally:
        target.removeHandler(handler)
        target.propagate = passing


class _Collector(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.into = into

    def emit(self, record: logging.LogRecord) -> None:
        self.into.append(record.getMessage())
