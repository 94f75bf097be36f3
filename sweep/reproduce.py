"""The commands that would make a sweep again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sweep import redact
from sweep.answer import Answer
from sweep.loading import Sweep


def commands(sweep: Sweep, answer: Answer) -> list[str]:
    """Commands for a fresh checkout; none where sweep.json does not say how the sweep was made."""
    axes, base = sweep.config.get("axes"), sweep.config.get("base")
    if not isinstance(axes, Mapping) or not isinstance(base, Mapping):
        return []
    commit = answer.provenance.get("git_commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    lines.append(_grid(sweep, axes, base))
    return [*lines, f"python -m sweep.analysis {shlex.quote(redact.text(sweep.location))} --margin {answer.margin:g}"]


def _grid(sweep: Sweep, axes: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    words = ["python", "-m", "sweep.grid", "--name", sweep.name]
    named = {"lora_r": "--lora_r", "seed": "--seeds"}
    for key, values in axes.items():
        if key in named:
            words += [named[key], *_words(values)]
        else:
            words += ["--grid", f"{key}={','.join(_words(values))}"]
    rules = sweep.config.get("rules")
    for key, value in {**(rules if isinstance(rules, Mapping) else {}), **base}.items():
        words += [f"--{key}", *_words(value)]
    return _folded(words)


def _folded(words: Sequence[str]) -> str:
    """A command with each flag on a line of its own."""
    command = ""
    for word in words:
        quoted = shlex.quote(word)
        command += f" \\\n    {quoted}" if word.startswith("--") else f" {quoted}"
    return command.strip()


def _words(value: Any) -> Sequence[str]:
    """A value as a flag's words."""
    if isinstance(value, list | tuple):
        return [word for one in value for word in _words(one)]
    if value is None or isinstance(value, bool):
        return [str(value).lower()]
    return [json.dumps(value)] if isinstance(value, Mapping) else [str(value)]
