"""Validates sweep.json: it is read from locations where anybody may have written."""

import json
import re
from typing import Any


def parse_sweep_json(data: bytes) -> tuple[dict[str, Any], str]:
    """The content of sweep.json, and what is wrong with it; "" if nothing is."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}, "it is not JSON, or was cut off"
    if not isinstance(content, dict) or "schema_version" not in content:
        return {}, "it has no schema_version"
    mappings = ("base", "axes", "rules", "flags", "content", "provenance", "tune", "race", "policy")
    kinds = {**dict.fromkeys(mappings, dict), "trials": list}
    odd = [key for key, kind in kinds.items() if not isinstance(content.get(key, kind()), kind)]
    axes, trials = content.get("axes"), content.get("trials")
    if isinstance(axes, dict) and not all(isinstance(values, list) for values in axes.values()):
        odd.append("axes")
    if isinstance(trials, list) and not all(
        isinstance(one, dict) and isinstance(one.get("trial_id"), str) for one in trials
    ):
        odd.append("trials")
    if not re.fullmatch(r"[0-9a-f]{1,64}", str(content.get("id", "0"))):  # it becomes a folder's name
        odd.append("id")
    return content, f"unexpected type of {' and '.join(dict.fromkeys(odd))}" if odd else ""
