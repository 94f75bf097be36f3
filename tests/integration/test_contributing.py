"""The trainable that CONTRIBUTING.md shows is one: it runs as it stands there, from a folder of its own."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_shown_trainable_runs(tmp_path: Path) -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text().partition("## Adding a trainable")[2]
    code, command = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("python", "bash"))
    (tmp_path / "matrix.py").write_text(code)
    python, *words = shlex.split(command)
    assert python == "python"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Take r=4: it is the cheapest configuration" in done.stdout
