"""Redirects what a trial prints to its own log file."""

import io
import logging
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TextIO


class Output:
    """While active, everything printed, logged or warned in this process goes to a file; with `echo`, to the old target too."""

    def __init__(self, path: Path, echo: bool) -> None:
        self._path, self._echo = path, echo

    def __enter__(self) -> Self:
        self._file = _Log(self._path)
        self._before = sys.stdout, sys.stderr, warnings.showwarning
        sys.stdout = self._through(sys.stdout)
        sys.stderr = self._through(sys.stderr)
        self._handler = logging.StreamHandler(self._file)
        logging.getLogger().addHandler(self._handler)
        for handler in _stream_handlers():
            _point(handler, sys.stderr)
        return self

    def _through(self, stream: TextIO) -> Any:
        return _Both(self._file, stream) if self._echo else self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout, sys.stderr, warnings.showwarning = self._before
        for handler in _stream_handlers():
            _point(handler, sys.stderr)
        logging.getLogger().removeHandler(self._handler)
        self._file.close()


class _Log(io.TextIOWrapper):
    """A text file. What a full disk does not take is dropped: a trial must not fail because of its log."""

    def __init__(self, path: Path) -> None:
        super().__init__(_opened(path), encoding="utf-8", errors="replace", line_buffering=True)

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


class _Both:
    """A text stream that writes to two."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


def _point(handler: logging.StreamHandler[Any], stream: Any) -> None:
    try:
        handler.setStream(stream)
    except ValueError:  # its previous stream is closed and cannot be flushed
        handler.stream = stream


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    """The libraries' own handlers: they keep the stderr of when they were created."""
    found = []
    for name in ("transformers", "datasets", "accelerate", "trl", "peft", "huggingface_hub"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:
                found.append(handler)
    return found
