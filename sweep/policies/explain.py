"""Decisions as rows and as text, and whether replaying the trials' rows gives the same ones."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweep.policies.policy import Decision, Wanted


def rows(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """One row per decision: sequence number, kind, rank as text, value, text, and the numbers as JSON."""
    return [
        {
            "sequence": place,
            "kind": one.kind,
            "rank": None if one.rank is None else str(one.rank),
            "value": one.value,
            "text": one.text,
            "numbers": json.dumps(one.numbers, sort_keys=True),
        }
        for place, one in enumerate(decisions)
    ]


def explain(recorded: Iterable[Mapping[str, Any]]) -> str:
    """The decisions as a numbered list."""
    return "\n".join(f"{row['sequence'] + 1:3d}. {row['text']}." for row in recorded)


def contradictions(recorded: Sequence[Mapping[str, Any]], wanted: Wanted) -> list[str]:
    """Where recorded decisions differ from those that the policy makes now; empty if the rows reproduce them.

    What was recorded may be a prefix of what is decided now: the sweep has continued. An end because the budget was spent
    is not compared: what was spent does not depend on the requested trials alone.
    """
    again = rows(wanted.decisions)
    found = []
    for place, row in enumerate(recorded):
        now = again[place] if place < len(again) else None
        if row["kind"] == "done" and (now is None or now["kind"] != "done"):
            continue
        if now is None:
            found.append(f"decision {place + 1} is not made again: {row['text']}")
        elif any(row[name] != now[name] for name in now):
            found.append(f"decision {place + 1} was {row['text']!r}, and is now {now['text']!r}")
    return found
