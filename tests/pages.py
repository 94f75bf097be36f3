"""A page of documentation, followed literally: its blocks are run in order, and what they print is compared with what it shows.

bash, python    run, as a person at a terminal would
yaml            written to the file that its first line names, as in `# rows.yaml: the rows`
text            what the block before it prints on standard output; a line of … stands for any lines
others (sh, …)  only shown
"""

import os
import pty
import re
import subprocess
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZE = (40, 110)  # of the terminal: lines, columns
PYTHON = ".venv/bin/python"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STYLE = re.compile(r"\x1b\[[\d;]*m")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?")
MEASURED = {"s", "min", "h", "B", "kB", "MB", "GB"}  # units of what differs from run to run, or from machine to machine
# As far as machines agree, whose kernels add in different orders. Without AVX the tutorial's losses were up to 0.0008 away.
LOSS_APART, SHARE_APART = 0.005, 0.05


@dataclass(frozen=True)
class Step:
    """A block that does something, and the output that the page shows of it, if it does."""

    language: str
    text: str
    shown: str | None


def steps(page: str) -> list[Step]:
    """What a page does, in order."""
    blocks = BLOCK.findall(page)
    return [
        Step(language, text, output if after == "text" else None)
        for (language, text), (after, output) in zip(blocks, [*blocks[1:], ("", "")], strict=True)
        if language in ("bash", "python", "yaml")
    ]


def follow(step: Step, folder: Path, **environment: str) -> str:
    """Does what a step says, in a folder with an environment `.venv`; returns what it prints on standard output.

    Raises:
        AssertionError: it failed.
    """
    if step.language == "yaml":
        name = step.text.partition("\n")[0].removeprefix("#").split()[0].rstrip(":")
        (folder / name).write_text(step.text)
        return ""
    command = [PYTHON, "-c", step.text] if step.language == "python" else ["bash", "-ec", step.text]
    code, out, err = at_terminal(command, folder, **environment)
    assert code == 0 and "Traceback" not in err, f"{step.text}\n{out}\n{err}"
    return out


def at_terminal(command: Sequence[str], folder: Path, **environment: str) -> tuple[int, str, str]:
    """Runs a command with a terminal as its standard output; returns exit code, output and what it wrote to standard error."""
    main, end = pty.openpty()
    termios.tcsetwinsize(end, SIZE)
    left_out = {"COLUMNS", "LINES", "PYTHONPATH", "VIRTUAL_ENV"}
    own = {name: value for name, value in os.environ.items() if name not in left_out} | environment
    errors = folder / "stderr"
    with errors.open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=end, stderr=err)
    os.close(end)
    out = b""
    with os.fdopen(main, "rb", buffering=0) as screen:
        while part := _read(screen.fileno()):
            out += part
    return process.wait(), STYLE.sub("", out.decode()).replace("\r\n", "\n"), errors.read_text()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # nobody has the other end any more
        return b""


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: the same words, and numbers as equal as such numbers are on another day."""
    found, at = _words(printed), 0
    parts = [_words(part) for part in re.split(r"^…$", shown, flags=re.MULTILINE)]
    for index, part in enumerate(parts):
        last = len(found) - len(part)
        places = range(at, last + 1) if index else range(min(1, last + 1))
        if index and index == len(parts) - 1:
            places = range(max(at, last), last + 1)
        place = next((place for place in places if _agree(part, found[place : place + len(part)])), None)
        if place is None:
            return False
        at = place + len(part)
    return len(parts) > 1 or at == len(found)


def _words(text: str) -> list[str]:
    """The words, without rules: those of a table are as long as what is in it."""
    return re.sub(r"[─━]+", " ", text).split()


def _agree(shown: Sequence[str], printed: Sequence[str]) -> bool:
    units = [word.rstrip(".,;:)") for word in [*shown[1:], ""]]
    return all(map(_same_word, shown, printed, units))


def _same_word(shown: str, printed: str, unit: str) -> bool:
    """Whether two words are the same but for their numbers, and these agree; `unit` is the word after."""
    if shown == printed or {shown, printed} <= MEASURED:
        return True
    numbers = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=False)
    return NUMBER.sub("#", shown) == NUMBER.sub("#", printed) and all(_agrees(*pair, unit) for pair in numbers)


def _agrees(shown: str, printed: str, unit: str) -> bool:
    digits = len(shown.partition(".")[2])
    if unit in MEASURED or digits == 3:  # rates a second have three
        return True
    if shown != printed and digits != 4 and unit != "%":
        return False
    here, there = (float(text.replace(",", "")) for text in (shown, printed))
    return abs(here - there) <= (LOSS_APART if digits == 4 else max(1, SHARE_APART * here))
