"""Allows one driver at a time in a sweep's folder: `lock.json` names it, and holds a heartbeat while that driver lives.

On a local disk the file is created exclusively (O_EXCL), so that only one of two drivers creates it. An object store
cannot do that: there, a driver writes its own, waits, and reads back whose was last.
"""

import fcntl
import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from sweep.common.formatting import reason
from sweep.common.processes import pid_namespace, start_ticks, this_process
from sweep.errors import LockLost, StoreError, SweepInUse
from sweep.store.location import LOCK as NAME
from sweep.store.store import Store

BEAT_S = 10.0  # seconds between heartbeats
STALE_S = 60.0  # a driver elsewhere counts as dead this long after its last heartbeat
SETTLE_S = 1.0  # time for a rival's write to an object store to become visible


@dataclass(frozen=True)
class Holder:
    """A driver: where it runs, since when, and its last heartbeat (seconds since the epoch)."""

    host: str
    pid: int
    place: str  # host, boot and PID namespace: the pid means something only there
    began: str  # the process's start time: pids are reused
    since: str
    beat: float
    nonce: str

    @classmethod
    def me(cls) -> "Holder":
        now = datetime.now(UTC)
        since = now.isoformat(timespec="seconds")
        pid, start = this_process()
        return cls(platform.node(), pid, pid_namespace(), start, since, now.timestamp(), uuid.uuid4().hex)

    @property
    def dead(self) -> bool:
        """On this machine: its process is gone. Elsewhere: no heartbeat for a while."""
        if self.place and self.place == pid_namespace():
            return start_ticks(self.pid) != self.began
        return time.time() - self.beat > STALE_S

    def data(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@contextmanager
def held(store: Store, lost: Callable[[LockLost], None] = lambda error: None) -> Iterator[Store]:
    """Holds the sweep's lock and always releases it. Yields a store that writes only while the lock is held.

    If another driver takes the lock in the meantime, `lost` is called, from a separate thread.

    Raises:
        SweepInUse: another driver holds it, and is alive.
        StoreError: the lock file cannot be written.
    """
    mine = Holder.me()
    try:
        _take(store, mine)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{store.uri(NAME)} cannot be written: {reason(error)}. Nothing was started. Fix that, or give another --storage_path."
        ) from error
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, mine, over, lost), name="lock", daemon=True)
    beating.start()
    try:
        yield replace(store, nonce=mine.nonce)
    finally:
        over.set()
        beating.join(BEAT_S)
        release(replace(store, nonce=mine.nonce))


def _take(store: Store, mine: Holder) -> None:
    found = _holder(store)
    if found is not None and not found.dead:
        raise _refusal(store, found)
    if store.local is not None:
        if found is not None:
            _clear(store.local / NAME, found)
        winner = _create(store, store.local, mine)
    else:
        winner = _write_and_see(store, mine)
    if winner.nonce != mine.nonce:
        raise _refusal(store, winner)
    if found is not None:
        print(
            f"Took over the lock of a driver that is gone (pid {found.pid} on {found.host}, since {found.since}).",
            file=sys.stderr,
        )


def _holder(store: Store) -> Holder | None:
    """Who holds the lock. An unreadable file may be one that is just being written: its age counts."""
    try:
        return Holder(**json.loads(store.read_bytes(NAME)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Holder("an unknown host", 0, "", "", "an unknown time", store.modified(NAME), "")


def _create(store: Store, folder: Path, mine: Holder) -> Holder:
    """Creates the file unless it exists; returns whose it is."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / NAME).open("xb") as file:  # O_EXCL
            file.write(mine.data())
    except FileExistsError:
        return _holder(store) or mine
    return mine


def _clear(path: Path, dead: Holder) -> None:
    """Removes a dead driver's lock, but never one that was created since it was read."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        with suppress(OSError):  # not every file system supports it
            fcntl.flock(file, fcntl.LOCK_EX)  # one takeover at a time
        same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
        if same and (not dead.nonce or dead.nonce.encode() in file.read()):
            path.unlink()


def _write_and_see(store: Store, mine: Holder) -> Holder:
    store.write_bytes(NAME, mine.data())
    time.sleep(SETTLE_S)
    return _holder(store) or mine


def _beat(store: Store, mine: Holder, over: threading.Event, lost: Callable[[LockLost], None]) -> None:
    fenced = replace(store, nonce=mine.nonce)
    while not over.wait(BEAT_S):
        try:
            fenced.write_bytes(NAME, replace(mine, beat=time.time()).data())
        except LockLost as error:
            if not over.is_set():
                lost(error)
            return
        except (OSError, pa.ArrowException):  # an unreachable store may come back
            continue


def release(store: Store) -> None:
    """Removes the lock of a store that `held` yielded, unless another driver has taken it."""
    with suppress(LockLost, OSError, pa.ArrowException):  # a lock that cannot be removed is stale once its process ends
        store.fence()
        store.remove(NAME)


def _refusal(store: Store, holder: Holder) -> SweepInUse:
    return SweepInUse(
        f"{store.location} is in use: another driver runs this sweep (pid {holder.pid} on {holder.host}, since "
        f"{holder.since}). Wait until it has ended, or end it; to run beside it, give this one another --name. The lock "
        f"of a driver that died elsewhere is taken over {STALE_S:.0f} s after its last heartbeat "
        f"({max(0.0, time.time() - holder.beat):.0f} s ago)."
    )
