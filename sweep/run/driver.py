"""The driver's process: how it starts, is interrupted and exits."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sweep.common import program
from sweep.trial import scratch

INTERRUPTED = 130  # exit code, as a shell has it after Ctrl-C


def command(main: Callable[[], int]) -> NoReturn:
    """Runs `main` in a process of its own, and ends that with its exit code."""
    folder = scratch.settle(alone=True)  # Ray has its files elsewhere, and its processes theirs
    try:
        with program.piped():
            code = main()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exits the process. After an interrupt, without the usual cleanup, in which a half-started Ray would abort (134)."""
    ray = sys.modules.get("ray")
    if code == INTERRUPTED:
        if ray is not None and ray.is_initialized():
            ray.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM behave like Ctrl-C from the start."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
