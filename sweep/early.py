"""Starts Ray while the libraries are imported: the one takes seconds of waiting, the other of computing."""

import contextlib
import os
import threading
from collections.abc import Sequence

ELSEWHERE = {"__address", "__config", "__dry_run"}  # with these there may be another Ray to use, or none


def begin(words: Sequence[str]) -> None:
    """Starts a Ray on this machine unless the words may mean another one; `runner.connect` then finds it.

    If the configuration turns out to be wrong, it goes when the process ends. Errors are left to who needs what failed.
    """
    if "RAY_ADDRESS" in os.environ or any(word.partition("=")[0].replace("-", "_") in ELSEWHERE for word in words):
        return
    from sweep import runner

    # Ray is started from this thread: the processes that it starts end with the thread that started them.
    importing = threading.Thread(target=_import, daemon=True)
    importing.start()
    with contextlib.suppress(ConnectionError, ValueError, RuntimeError):
        runner.start(None, "--verbose" in words)
    importing.join()


def _import() -> None:
    """torch, transformers and TRL: what reading a configuration needs."""
    from sweep import fields

    with contextlib.suppress(Exception):
        fields.trainer_fields()
