"""Notices that Ray's services or the lock are gone, and ends the driver with a one-line message instead of Ray's own exit.

If Ray's services are gone, its native code ends the process that notices: without an exception, after 60 s for
gcs_server and immediately for the raylet. So a second, small process outlives the driver: it learns why the driver ended,
or only that it is gone; then it prints that and releases the sweep's lock.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeAlias

from sweep.common.formatting import headline
from sweep.store.store import Store

Look: TypeAlias = Callable[[], "str | None"]

LOOK_S = 5.0  # between looks
ANSWER_S = 20  # without an answer for so long, Ray is gone if nothing listens where its services did
PATIENCE_S = 120  # and otherwise after so long: under a load of 14 on two cores, living services took more than 20 s
CONNECT_S = 2.0
GONE = "the driver's process ended without a message: it was killed, or Ray ended it because its own services were gone"
GO_ON = "Run the same command to resume."
SHOW_CURSOR = "\x1b[?25h"


class Witness:
    """The driver's end of the pipe to the process that outlives it."""

    def __init__(self, store: Store) -> None:
        command = [sys.executable, "-m", "sweep.run.watchdog", store.absolute, store.nonce or ""]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def end(self, why: str) -> NoReturn:
        """Ends the driver immediately, whatever its other threads do; its Ray ends with it."""
        self._tell(f"{why}\n")
        os._exit(1)

    def release(self) -> None:
        """The driver ends normally: nothing is printed."""
        self._tell("\n")
        self._process.wait()

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(text.encode())
            self._process.stdin.close()


@contextlib.contextmanager
def witnessed(store: Store) -> Iterator[Witness]:
    """Within the block, another process waits for this one's sudden end."""
    witness = Witness(store)
    try:
        yield witness
    finally:
        witness.release()


@contextlib.contextmanager
def watching(
    look: Look, lost: Callable[[str], None], alive: Callable[[], bool], every: float = LOOK_S
) -> Iterator[None]:
    """Within the block, calls `look` periodically in a thread; calls `lost` once, with what it found or that it got no answer.

    Args:
        alive: whether those who are asked are there; they may be slow, then.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every):
            why = _answer(look, alive)
            if why and not over.is_set():
                lost(why)
                return

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def listens(address: str) -> bool:
    """Whether a process listens at host:port. The kernel takes the connection, however busy that process is."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
            return True
    except OSError:
        return False


def _answer(look: Look, alive: Callable[[], bool]) -> str | None:
    found: list[str | None] = []

    def ask() -> None:
        try:
            found.append(look())
        except Exception as error:  # whatever Ray raises where nobody answers
            found.append(f"{type(error).__name__}: {headline(error)}")

    thread = threading.Thread(target=ask, name="look", daemon=True)
    thread.start()
    waited = 0
    while waited < ANSWER_S or (waited < PATIENCE_S and alive()):
        thread.join(1.0)  # in small pieces: a process that was suspended meanwhile has not waited so long
        if found:
            return found[0]
        waited += 1
    return f"no answer for {waited} s"


def main(location: str, nonce: str) -> None:
    """The second process: waits until the first has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    said = sys.stdin.read()
    if said == "\n":
        return
    from sweep.store.lock import release

    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    print(f"{cursor}The sweep was stopped: {said.strip() or GONE}. {GO_ON}", file=sys.stderr, flush=True)
    release(Store(location, nonce or None))


if __name__ == "__main__":
    main(*sys.argv[1:])
