"""The commands that reproduce a sweep."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sweep import redact
from sweep.answer.answer import Answer
from sweep.config.sweep_config import FLAGS
from sweep.space import FULL, is_lora_setting
from sweep.store.loading import Sweep


def commands(sweep: Sweep, answer: Answer) -> list[str]:
    """Commands for a fresh checkout; empty if sweep.json does not record how the sweep was made."""
    axes, base = sweep.config.get("axes"), sweep.config.get("base")
    if not isinstance(axes, Mapping) or not isinstance(base, Mapping):
        return []
    commit = answer.provenance.get("git_commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    lines.append(_grid(sweep, axes, base))
    return [*lines, f"python -m sweep.analysis {shlex.quote(redact.text(sweep.location))} --margin {answer.margin:g}"]


def _grid(sweep: Sweep, axes: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    return _folded(["python", "-m", "sweep.grid", "--name", sweep.name, *words(sweep.config, axes, base)])


def words(config: Mapping[str, Any], axes: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Flags that give the configuration in sweep.json when they are parsed: values of any type come back unchanged."""
    found = []
    tuned = (config.get("tune") or {}).get("key")  # whose values --tune finds
    for key, values in axes.items():
        if key == tuned:
            continue
        flag = "seeds" if key == "seed" else key
        found += _setting(flag, values) if flag in FLAGS else ["--grid", f"{key}={_axis(values)}"]
    own = [part for part in (config.get("rules"), config.get("flags")) if isinstance(part, Mapping)]
    full = list(axes.get("lora_r", [])) == [FULL]  # then LoRA settings mean nothing, and are refused
    for key, value in [pair for part in (*own, base) for pair in part.items()]:
        found += [] if full and is_lora_setting(key) else _setting(key, value)
    return found


def _setting(key: str, value: Any) -> list[str]:
    """A flag with its value. A list of plain words is written as words, as people do."""
    if key in FLAGS and FLAGS[key].many:
        return [f"--{key}", *map(str, value)]
    if isinstance(value, list) and len(value) > 1 and all(map(_is_plain, value)):
        return [f"--{key}", *value]
    text = _text(value)
    return [f"--{key}={text}"] if text.startswith("--") else [f"--{key}", text]


def _axis(values: Sequence[Any]) -> str:
    """Values separated by commas if that is unambiguous, otherwise a YAML list."""
    plain = all(isinstance(value, bool | int | float) or _is_plain(value) for value in values)
    return ",".join(map(_text, values)) if plain else _yaml(list(values))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w./:@+][\w./:@+-]*", value, re.ASCII) is not None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _yaml(value)


def _yaml(value: Any) -> str:
    """JSON that YAML reads as the same value: characters that YAML does not allow are escaped."""
    return re.sub(r"[^ -~]", _escaped, json.dumps(value, ensure_ascii=False))


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _folded(words: Sequence[str]) -> str:
    """The command with each flag on its own line."""
    command = ""
    for word in words:
        quoted = shlex.quote(word)
        command += f" \\\n    {quoted}" if word.startswith("--") else f" {quoted}"
    return command.strip()
