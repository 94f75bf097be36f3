"""Identifies processes: pids are reused, and mean something only within their PID namespace."""

import os
import platform
from pathlib import Path


def pid_namespace() -> str:
    """Host name, boot id and PID namespace; empty if the system does not provide them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def start_ticks(pid: int) -> str | None:
    """A process's start time, in kernel clock ticks since boot; None if there is no such process, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def this_process() -> tuple[int, str]:
    """This process: its pid and start time; "0" if the system does not provide it."""
    return os.getpid(), start_ticks(os.getpid()) or "0"


def boot_time() -> float:
    """When the machine booted, in seconds since the epoch; 0 if the system does not say."""
    try:
        words = Path("/proc/stat").read_text().split()
        return float(words[words.index("btime") + 1])
    except (OSError, ValueError, IndexError):
        return 0.0
