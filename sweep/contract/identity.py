"""What trials depend on besides their settings: models and data, each identified by a fingerprint of its content.

sweep.json has them as `content`: fingerprints by kind, then by the name that the user gave. So each value of an axis has
its own, and a value that is added later changes none of the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweep import redact


@dataclass(frozen=True)
class Source:
    """A model or data set: its name, with the settings that select a part of it, and its content's fingerprint."""

    name: str
    fingerprint: str


Identity = Mapping[
    str, Mapping[str, Source]
]  # by trial id, then by kind: data_fingerprint, model_fingerprint, tokenizer


def fingerprints(identity: Identity, trial_id: str) -> dict[str, str]:
    """One trial's fingerprints by kind, for its row."""
    return {kind: source.fingerprint for kind, source in identity.get(trial_id, {}).items()}


def content(identity: Identity) -> dict[str, dict[str, str]]:
    """All fingerprints in the form that sweep.json has."""
    found: dict[str, dict[str, str]] = {}
    for sources in identity.values():
        for kind, source in sources.items():
            found.setdefault(kind, {})[redact.text(source.name)] = source.fingerprint
    return found


def summary(identity: Identity) -> dict[str, str]:
    """Each kind's fingerprints, joined into one string."""
    return {kind: ",".join(dict.fromkeys(sources.values())) for kind, sources in content(identity).items()}


def merge(before: Mapping[str, Any], now: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Earlier content, updated with the current one."""
    kinds = dict.fromkeys([*before, *now])
    return {kind: {**_named(before.get(kind)), **now.get(kind, {})} for kind in kinds}


def changes(before: Mapping[str, Any], now: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Describes every name whose content has changed."""
    for kind, sources in now.items():
        old = before.get(kind)
        if isinstance(old, str):
            yield from _changes_of_joined(kind, old, sources)
        for name, fingerprint in _named(old).items():
            if sources.get(name, fingerprint) != fingerprint:
                yield f'{kind} of {name}: "{fingerprint}" there, "{sources[name]}" now'


def _named(sources: Any) -> dict[str, Any]:
    return dict(sources) if isinstance(sources, Mapping) else {}


def _changes_of_joined(kind: str, old: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Version 1 wrote one string for all of a command's trials, and no commit for a model from the Hub."""
    there = {one for one in old.split(",") if not one.endswith("@None")}
    here = set(sources.values())
    if there and not (there <= here or here <= there):
        yield f'{kind}: "{old}" there, "{",".join(sources.values())}" now'
