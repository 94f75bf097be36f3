"""What every command has: `--version`, and an output that may be read in part, as by `| head -1`."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

import sweep.__main__ as console
from sweep.common import program

COMMANDS = [
    ["sweep"],
    *(["sweep", name] for name in console.COMMANDS),
    *([f"sweep.{name}"] for name in console.COMMANDS),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_whoever_reads_the_help_may_stop_reading(words: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", *words, "--help"], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert done.stderr == "" and done.returncode in (program.CLOSED, 0)  # argparse ignores what it cannot write


def test_whoever_reads_a_table_may_stop_reading() -> None:
    """As in `--dry_run | head -1`: code 1 would say that trials failed."""
    reads, writes = os.pipe()
    os.close(reads)
    text = "from sweep.common.program import command, console; command(lambda: console().print('trials') or 0)"
    done = subprocess.run([sys.executable, "-c", text], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert (done.returncode, done.stderr) == (program.CLOSED, "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_says_its_version(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"lora-sweep {metadata.version('lora-rank-sweep')}\n"


def test_another_pipe_that_breaks_is_an_error() -> None:
    with pytest.raises(BrokenPipeError), program.piped():
        raise BrokenPipeError("a tracker's")


def test_a_version_that_is_not_installed_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "DISTRIBUTION", "not-installed")
    assert program.version() == "lora-sweep, of an unknown version: not-installed is not installed"
