"""`--tune learning_rate` on finished runs: `python -m benchmarks.replay FILE.csv --margin 0.005` prints one JSON object.

FILE has the columns model, lora_r, learning_rate and eval_loss, with a line for each run; runs that are not listed count as
diverged. The policy tunes each model's ranks with the table's rates as the ladder. Its verdict is the cheapest rank
within the margin of the best, among those that it tried, each at its best rate; the table's verdict is that of all runs.

    models         number of models
    same_verdict   number of models for which the policy's verdict is the table's
    runs_share     runs that the policy requested, over those in the table
    differ         the models for which the verdicts differ
"""

import argparse
import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sweep.ladder import LORA_START, Ladder
from sweep.policies.policy import Result, Wanted, decide
from sweep.policies.tune import Tune
from sweep.policies.tune_then_seeds import TuneThenSeeds
from sweep.space import Rank, Trial

N = TypeVar("N", int, float)
Table = Mapping[tuple[int, float], float]  # loss by rank and rate

DATA = Path(__file__).parent / "data" / "lr_rank_a.csv"


def read(path: Path) -> dict[str, dict[tuple[int, float], float]]:
    """Each model's table.

    Raises:
        ValueError: a column is missing, a value is not a number, or a pair of rank and rate is listed twice.
    """
    tables: dict[str, dict[tuple[int, float], float]] = {}
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if missing := {"model", "lora_r", "learning_rate", "eval_loss"} - row.keys():
                raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
            key = _number(row["lora_r"], int, "a rank", number), _number(row["learning_rate"], float, "a rate", number)
            table = tables.setdefault(row["model"], {})
            if key in table:
                raise ValueError(f"{path}, line {number}: {row['model']}, rank {key[0]} at {key[1]:g} is listed twice")
            table[key] = _number(row["eval_loss"], float, "a loss", number)
    return tables


def _number(text: str, kind: Callable[[str], N], what: str, line: int) -> N:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"line {line}: {text!r} is not {what}") from None


def trial(rank: Rank, rate: float, seed: int) -> Trial:
    """A trial with what policies use."""
    assert rank != "full", "the table has LoRA alone"
    return Trial(f"r{rank}-{rate:g}-s{seed}", rank, None, seed, {}, {}, "")


def verdict(table: Table, margin: float) -> int | None:
    """The cheapest rank within the margin of the best one, each at its best rate."""
    finite = {key: loss for key, loss in table.items() if math.isfinite(loss)}
    lowest = min(finite.values(), default=math.inf)
    return min((rank for (rank, _), loss in finite.items() if loss <= lowest * (1 + margin)), default=None)


def walked(table: Table, margin: float) -> tuple[dict[tuple[int, float], float], Wanted]:
    """The runs that the policy requested, with their losses, and its final state."""
    rates = tuple(sorted({rate for _, rate in table}))
    ladder = Ladder.of(LORA_START, rates)
    ranks: tuple[Rank, ...] = tuple(sorted({rank for rank, _ in table}))
    policy = TuneThenSeeds(Tune("learning_rate", ranks, ladder, ladder, trial, 0, margin), (0,))
    keys = {trial(rank, rate, 0).trial_id: (rank, rate) for rank in ranks for rate in rates if rank != "full"}
    results: list[Result] = []
    while not (wanted := decide(policy, results)).done:
        for one in wanted.trials:
            loss = table.get(keys[one.trial.trial_id], math.nan)
            status = "completed" if math.isfinite(loss) else "diverged"
            results.append(Result(one.trial.trial_id, status, loss))
    return {keys[row.trial_id]: row.comparable for row in results}, wanted


def replay(tables: Mapping[str, Table], margin: float) -> dict[str, Any]:
    """Replays all models."""
    runs, differ = 0, []
    for model, table in tables.items():
        tried, _ = walked(table, margin)
        runs += len(tried)
        mine, theirs = verdict(tried, margin), verdict(table, margin)
        if mine != theirs:
            differ.append({"model": model, "table": theirs, "policy": mine})
    return {
        "benchmark": "replay",
        "margin": margin,
        "models": len(tables),
        "same_verdict": len(tables) - len(differ),
        "runs_share": round(runs / sum(map(len, tables.values())), 3),
        "differ": differ,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.replay")
    flags.add_argument("file", type=Path, nargs="?", default=DATA, help="finished runs; default: %(default)s")
    flags.add_argument("--margin", type=float, default=0.005, help="as in sweep.grid; default: %(default)s")
    given = flags.parse_args(arguments)
    try:
        tables = read(given.file)
    except (OSError, ValueError) as error:
        flags.error(str(error))
    print(json.dumps(replay(tables, given.margin), indent=2))


if __name__ == "__main__":
    main()
