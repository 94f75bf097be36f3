"""Which process is which: a pid is given away again, and means something only where it was given."""

import os
import platform
from pathlib import Path


def pid_namespace() -> str:
    """The machine's boot and process namespace; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def start_ticks(pid: int) -> str | None:
    """The start time of a process, in the kernel's ticks; None if there is no such process, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def this_process() -> tuple[int, str]:
    """This process: its pid, and when it began; 0 where the system does not say."""
    return os.getpid(), start_ticks(os.getpid()) or "0"


def boot_time() -> float:
    """Seconds since the epoch; 0 where the system does not say."""
    try:
        words = Path("/proc/stat").read_text().split()
        return float(words[words.index("btime") + 1])
    except (OSError, ValueError, IndexError):
        return 0.0
