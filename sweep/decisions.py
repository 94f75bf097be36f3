"""Explains what a sweep decided to train, and checks it by a replay: `python -m sweep.decisions results/NAME`.

Trains nothing: the policy is replayed on the trials' rows.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.common.program import Parser, command
from sweep.errors import StoreError, SweepError

if TYPE_CHECKING:
    from sweep.policies.policy import Wanted
    from sweep.store.store import Store

OK, CONTRADICTED, NOT_A_SWEEP = 0, 1, 2


@dataclass(frozen=True)
class Replay:
    """What was recorded, what the policy decides on the rows now, and where the two differ."""

    recorded: Sequence[dict[str, Any]]
    wanted: "Wanted"
    contradictions: Sequence[str]


def replay(store: "Store") -> Replay:
    """Replays the policy that sweep.json describes on the rows that exist now.

    Raises:
        StoreError: there is no sweep, it cannot be read, or no policy chose its trials.
    """
    from sweep.policies import explain

    wanted = _wanted(store, store.read_sweep())
    recorded = store.decisions().to_pylist()
    return Replay(recorded, wanted, explain.contradictions(recorded, wanted))


def _wanted(store: "Store", record: dict[str, Any]) -> "Wanted":
    from sweep.policies.policy import decide
    from sweep.policies.record import candidates_of, policy_of, result_of
    from sweep.run.chooser import judge

    if not record.get("policy"):
        raise StoreError(
            f"{store.location} was made by a version that recorded no decisions. Run the sweep's command again to add them."
        )
    try:
        candidates, chosen = candidates_of(record), record["policy"]
        policy = policy_of(record, candidates, judge(store, chosen["margin"]))
        shrink, budget = chosen["on_oom"] == "shrink", chosen["budget_gpu_hours"]
    except (KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise StoreError(f"{store.uri('sweep.json')} does not describe how trials were chosen ({what}).") from error
    trials = {trial.trial_id: trial for trial in candidates}
    known = [result_of(row, trials.get(row["trial_id"])) for row in store.trials().to_pylist()]
    return decide(policy, known, shrink=shrink, budget_gpu_hours=budget)


def as_text(found: Replay) -> str:
    """The decisions as a numbered list, the state of the sweep, and whether the replay gives the same decisions."""
    from sweep.policies import explain

    wanted = found.wanted
    ended = len(wanted.asked) - len(wanted.trials)
    stands = f"Done: {wanted.why}" if wanted.done else f"It {wanted.why}"
    lines = [explain.explain(found.recorded) or "No decision has been recorded yet."]
    lines += ["", f"{stands}. {ended} trials ended of at most {wanted.at_most}."]
    lines += found.contradictions or ["Replaying the trials' rows gives the same decisions."]
    return "\n".join(lines)


def as_json(found: Replay) -> str:
    wanted = found.wanted
    state = {"done": wanted.done, "why": wanted.why, "at_most": wanted.at_most, "asked": list(wanted.asked)}
    decisions = [{**row, "numbers": json.loads(row["numbers"])} for row in found.recorded]
    return json.dumps({**state, "decisions": decisions, "contradictions": list(found.contradictions)}, indent=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the decisions; returns the exit code."""
    given = parser().parse_args(arguments)
    from sweep.store.store import Store

    try:
        found = replay(Store(given.sweep))
    except SweepError as error:
        print(error, file=sys.stderr)
        return NOT_A_SWEEP
    print((as_json if given.format == "json" else as_text)(found))
    return CONTRADICTED if found.contradictions else OK


def parser() -> Parser:
    flags = Parser(
        "decisions",
        description="Explains what a sweep decided to train and why, and checks whether a replay of its rows gives the same decisions.",
        epilog="Exit code: 0 it does, 1 it does not, 2 there is no such sweep.",
    )
    flags.add_argument("sweep", help="a sweep's folder or URI, e.g. results/demo")
    flags.add_argument("--format", choices=("table", "json"), default="table")
    return flags


if __name__ == "__main__":
    command(main)
