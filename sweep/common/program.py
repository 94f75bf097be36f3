"""Command lines: what the running command is called in its own usage text, and which arguments it takes."""

import argparse
import sys
from typing import Any

CONSOLE = "lora-sweep"


def called(command: str) -> str:
    """The console command with its name: `lora-sweep grid`."""
    return f"{CONSOLE} {command}"


def prog(command: str) -> str:
    """`lora-sweep grid` where that is running, otherwise `python -m sweep.grid`."""
    return called(command) if sys.argv[0] == called(command) else f"python -m sweep.{command}"


class Parser(argparse.ArgumentParser):
    """A command's parser, which keeps a list of its arguments: argparse has no public one.

    Attributes:
        arguments: in the order in which they were added, `--help` first.
    """

    def __init__(self, command: str, **options: Any) -> None:
        self.arguments: list[argparse.Action] = []
        super().__init__(prog=prog(command), **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.arguments.append(action)
        return action
