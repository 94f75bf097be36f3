"""Command lines: what a command is called in its usage text, its arguments, and an output that need not be read to its end."""

import argparse
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

CONSOLE = "lora-sweep"
DISTRIBUTION = "lora-rank-sweep"
CLOSED = 141  # exit code, as a shell has it of a program that wrote to a pipe that nobody read (SIGPIPE)


def called(command: str) -> str:
    """The console command with its name: `lora-sweep grid`."""
    return f"{CONSOLE} {command}"


def prog(command: str) -> str:
    """`lora-sweep grid` where that is running, otherwise `python -m sweep.grid`."""
    return called(command) if sys.argv[0] == called(command) else f"python -m sweep.{command}"


class Parser(argparse.ArgumentParser):
    """A command's parser, which keeps a list of its arguments: argparse has no public one.

    Attributes:
        arguments: in the order in which they were added, `--help` and `--version` first.
    """

    def __init__(self, command: str | None, **options: Any) -> None:
        """`command`: None for the console command itself, which has a usage text of its own."""
        self.arguments: list[argparse.Action] = []
        super().__init__(prog=CONSOLE if command is None else prog(command), **options)
        self.add_argument("--version", action=_Version, help="show the version and exit")

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.arguments.append(action)
        return action


class _Version(argparse.Action):
    """argparse's own takes the text beforehand, which needs an import and a look at what is installed."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        print(version())
        parser.exit()


def version() -> str:
    from importlib import metadata

    try:
        return f"{CONSOLE} {metadata.version(DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return f"{CONSOLE}, of an unknown version: {DISTRIBUTION} is not installed"


def command(main: Callable[[], int]) -> NoReturn:
    """Runs a command and exits with its code."""
    with piped():
        code = main()
    sys.exit(code)


@contextmanager
def piped() -> Iterator[None]:
    """Within the block, whoever reads standard output may stop reading, as `| head` does. The process then exits silently."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():  # another pipe
            raise
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # Python flushes once more as it exits
        sys.exit(CLOSED)


def console() -> "Console":
    """Standard output as rich writes it: within `piped`, with its exit code if nobody reads on. rich's own is 1."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich calls it where it has caught the error

    return Piped()


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))
