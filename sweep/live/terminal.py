"""Where a table can be drawn over again: on a terminal that somebody looks at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NO = ("", "0", "false")


def redraws(console: "Console", environ: Mapping[str, str]) -> bool:
    """Whether the console's output is a terminal that moves its cursor. A pipe, a file, TERM=dumb, a notebook or CI is none.

    FORCE_COLOR makes rich take a pipe for a terminal: that is about colors, so the file itself is asked.
    """
    moves = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    # What a notebook's `!command` writes to is called a terminal, but only shows what is written, line after line.
    notebook = "JPY_PARENT_PID" in environ
    return moves and not notebook and environ.get("CI", "").lower() in NO
