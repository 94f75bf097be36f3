"""The machine that a figure was measured on: what the last bits of a CPU's losses depend on."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

from sweep.common.provenance import versions


def machine() -> dict[str, Any]:
    """The processor and the libraries' versions. Where both are the same, a trial's losses are the same bits."""
    return {"cpu": {**_processor(), "cores": os.cpu_count()}, "versions": versions()}


def _processor() -> dict[str, str]:
    """Its name; on Linux also family, model and a hash of its flags, by which libraries choose their code."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {"name": platform.processor() or platform.machine()}
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    flags = hashlib.sha256(told.get("flags", "").encode()).hexdigest()[:8]
    name = told.get("model name", platform.machine())
    return {"name": name, "family": told.get("cpu family", ""), "model": told.get("model", ""), "flags": flags}
