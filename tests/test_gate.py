"""What the default run leaves out, the gate runs."""

import os
import re
import sys
import tomllib
from pathlib import Path

from tests.conftest import MORE_THAN_PYTHON

PROJECT = Path(__file__).parents[1]


def test_what_needs_more_than_python_is_left_out_by_default_and_run_by_the_gate() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert {line.partition(":")[0] for line in settings["markers"]} == MORE_THAN_PYTHON
    assert set(re.findall(r"not (\w+)", settings["addopts"])) == MORE_THAN_PYTHON
    run = " ".join(re.findall(r"pytest -m (.*)", (PROJECT / ".ci" / "run").read_text()))
    assert set(re.findall(r"\w+", run)) >= MORE_THAN_PYTHON - {"gpu"}


def test_a_test_without_a_mark_finds_no_program_but_pythons_and_bash() -> None:
    pythons, others = map(Path, os.environ["PATH"].split(os.pathsep))
    assert pythons == Path(sys.executable).parent
    assert [path.name for path in others.iterdir()] == ["bash"]
