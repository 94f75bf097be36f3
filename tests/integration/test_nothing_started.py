"""What the command says of a wrong configuration is true of the process: no Ray was started."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_wrong_configuration_starts_no_ray(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweep.grid", "--lora_r", "0", "--storage_path", str(tmp_path / "store")]
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path / "ray")}  # Ray makes its session folder there as it starts
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "nothing was started" in done.stderr
    assert not (tmp_path / "ray").exists() and not (tmp_path / "store").exists()
