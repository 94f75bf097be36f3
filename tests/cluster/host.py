"""The first process of a lab host: lays out its own file system, then becomes the command given (sshd, say).

Runs in fresh mount, PID, network and UTS namespaces, by the plain interpreter, without the project's packages. All it
mounts is private to those namespaces and goes with the last process in them.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOM = Path("/mnt")  # a tmpfs for what the layout itself needs
PRIVATE = ("/home", "/tmp", "/run", "/dev/shm")  # empty in every host, and seen by no other


@dataclass(frozen=True)
class Spec:
    """What a host is made of."""

    hostname: str
    keep: list[str]  # folders to be seen at their own path, wherever that is
    overlays: dict[str, str]  # target → lower folder: the target starts as the lower one, changes stay in this host
    binds: dict[str, str]  # target → folder that is seen there too
    files: dict[str, str]  # path → text
    environment: dict[str, str]
    command: list[str]


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--rbind", str(source), str(target))


def cover(keep: list[str]) -> None:
    """Empties the private places, and brings back what was wanted from below them."""
    mount("-t", "tmpfs", "tmpfs", str(ROOM))
    for number, path in enumerate(keep):
        bind(Path(path), ROOM / "keep" / str(number))
    for place in PRIVATE:
        mount("-t", "tmpfs", "tmpfs", place)
    for path in sorted(keep):  # a folder before what is inside it
        if any(Path(path).is_relative_to(place) for place in PRIVATE):
            bind(ROOM / "keep" / str(keep.index(path)), Path(path))


def overlay(number: int, lower: str, target: str) -> None:
    upper, work = ROOM / f"upper{number}", ROOM / f"work{number}"
    for folder in (upper, work, Path(target)):
        folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", target)


def write(number: int, path: str, text: str) -> None:
    """Writes a file; one of the system's is covered, not changed."""
    target = Path(path).resolve()
    own = any(target.is_relative_to(place) for place in (*PRIVATE, ROOM))
    place = target if own else ROOM / f"file{number}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o600 if "/.ssh/" in path else 0o644)
    if not own:
        bind(place, target)


def main() -> None:
    spec = Spec(**json.loads(sys.argv[1]))
    socket.sethostname(spec.hostname)
    cover(spec.keep)
    for number, (target, lower) in enumerate(spec.overlays.items()):
        overlay(number, lower, target)
    for target, source in spec.binds.items():
        bind(Path(source), Path(target))
    for number, (path, text) in enumerate(spec.files.items()):
        write(number, path, text)
    Path("/run/sshd").mkdir()
    print("ready", flush=True)
    os.execve(spec.command[0], spec.command, spec.environment)


if __name__ == "__main__":
    main()
