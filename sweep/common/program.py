"""What the running command is called in its own usage text."""

import sys

CONSOLE = "lora-sweep"


def called(command: str) -> str:
    """The console command with its name: `lora-sweep grid`."""
    return f"{CONSOLE} {command}"


def prog(command: str) -> str:
    """`lora-sweep grid` where that is running, otherwise `python -m sweep.grid`."""
    return called(command) if sys.argv[0] == called(command) else f"python -m sweep.{command}"
