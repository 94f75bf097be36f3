"""Scores beside held-out loss: what training made the model forget, and how often what it generates is the reference.

Nothing here is in what is measured of training: the base model is scored before the peaks are reset and the clock starts, all
else once everything is measured and saved. An error only goes to the trial's log, and the columns stay null: the training is kept.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sweep.contract.trainable import Context
from sweep.space import is_lora_setting
from sweep.statistics import exact
from sweep.store.store import Row
from trainables.data.tokens import Tokens
from trainables.scored.prompts import EXACT_MATCH
from trainables.training import evaluate, generate

BEFORE, AFTER, GENERATING = "scoring the base model", "scoring", "generating"
# Of the arguments that a trial's model is run with, those that its losses may depend on in some digit.
_PRECISION = ("bf16", "fp16", "tf32", "use_cpu", "model_init_kwargs", "use_liger_kernel")


@dataclass
class Losses:
    """Rows of each further held-out set by name, and how long they took."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    seconds: float = 0.0


def baselines(context: Context, trainer: Any, mine: Tokens) -> Losses:
    """The base model's losses on the further held-out sets: each set once for all trials of a model, as far as possible.

    A trial that starts while another makes them makes them too. The adapter, which is new, is disabled; nothing of the model,
    the trainer or any generator of random numbers is different afterwards.
    """
    found = Losses()
    with _timed(found):
        for name, table in mine.sets.items():
            with _kept(f"The base model's loss on {name}"):
                found.rows[name] = context.once(_key(context, table), partial(_of_base, context, trainer, table))
    if mine.sets:
        _release(trainer)
    return found


def _of_base(context: Context, trainer: Any, table: Any) -> list[Row]:
    from peft import PeftModel

    model, size = trainer.model, trainer.args.per_device_eval_batch_size
    with model.disable_adapter() if isinstance(model, PeftModel) else nullcontext():
        return evaluate.held_out(trainer, table, size, lambda rows: context.phase(BEFORE, rows))


def _key(context: Context, table: Any) -> str:
    """What the base model's losses on a set depend on: the model, how it is run, and the set's tokens."""
    from dataclasses import fields

    from trl import ModelConfig

    names = [one.name for one in fields(ModelConfig) if not is_lora_setting(one.name)] + [*_PRECISION]
    settings = {name: context.settings[name] for name in names if name in context.settings}
    content = [settings, *(table.column(name).to_pylist() for name in ("example_id", "content_hash"))]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _release(trainer: Any) -> None:
    """Gives back what scoring left in CUDA's cache, which would count toward training's reserved memory."""
    import torch

    if trainer.args.device.type == "cuda":
        torch.cuda.empty_cache()


def columns(context: Context, trainer: Any, mine: Tokens, before: Losses, outcome: Row) -> Row:
    """The columns of what was asked for, of a trial that was trained and evaluated; its rows go to `context.scores`."""
    asked = bool(mine.sets) or mine.prompts is not None
    if not asked or outcome.get("eval_loss") is None:
        return {}
    after, found = Losses(seconds=before.seconds), Row()
    with _timed(after):
        for name, table in mine.sets.items():
            with _kept(f"The loss on {name}"):
                after.rows[name] = _after(context, trainer, table)
        if mine.prompts is not None:
            with _kept("Exact match"):
                found |= _exact_match(context, trainer, mine.prompts)
    return {**found, **_forgetting(context, mine, before, after), "scoring_time_s": after.seconds}


def _after(context: Context, trainer: Any, table: Any) -> list[Row]:
    size = trainer.args.per_device_eval_batch_size
    return evaluate.held_out(trainer, table, size, lambda rows: context.phase(AFTER, rows))


# --- forgetting ------------------------------------------------------------------------------------------------------


def _forgetting(context: Context, mine: Tokens, before: Losses, after: Losses) -> Row:
    losses: dict[str, Mapping[str, float]] = {}
    for name in mine.sets:
        if name in before.rows and name in after.rows:
            with _kept(f"What was forgotten of {name}"):
                pairs = _paired(name, before.rows[name], after.rows[name])
                losses[name] = _means(pairs)
                context.scores += pairs
    if not losses:
        return {}
    added = [one["after"] - one["before"] for one in losses.values()]
    complete = len(losses) == len(mine.sets)  # a mean over other sets would not compare
    return {"eval_dataset_losses": json.dumps(losses), "forgetting": sum(added) / len(added) if complete else None}


def _means(pairs: list[Row]) -> dict[str, float]:
    """Loss per token, before and after.

    Raises:
        ValueError: one of them is not finite.
    """
    tokens = sum(row["tokens"] for row in pairs)
    found = {key: sum(row[key] for row in pairs) / tokens if tokens else math.nan for key in ("before", "after")}
    if not all(map(math.isfinite, found.values())):
        raise ValueError(f"its loss is not finite: {found}")
    return found


def _paired(name: str, before: list[Row], after: list[Row]) -> list[Row]:
    """Rows of SCORES, an example's loss before training beside that after it."""
    earlier = {row["example_id"]: row["loss_sum"] for row in before}
    return [
        {
            "metric": "loss",
            "dataset": name,
            "before": earlier[row["example_id"]],
            "after": row["loss_sum"],
            **{key: row[key] for key in ("example_id", "tokens", "group", "content_hash")},
        }
        for row in after
    ]


# --- exact match -----------------------------------------------------------------------------------------------------


def _exact_match(context: Context, trainer: Any, prompts: Any) -> Row:
    size = generate.TIMES * trainer.args.per_device_eval_batch_size
    rows = generate.matches(trainer, prompts, size, lambda left: context.phase(GENERATING, left))
    context.scores += [{"metric": EXACT_MATCH, **row} for row in rows]
    rate = sum(row["after"] for row in rows) / len(rows)
    sizes = Counter(row["group"] or row["content_hash"] for row in rows)
    lower, upper = exact.bounds(rate, exact.effective_count(list(sizes.values())))
    return {"exact_match": rate, "exact_match_lower": lower, "exact_match_upper": upper}


# --- what both need --------------------------------------------------------------------------------------------------


@contextmanager
def _timed(what: Losses) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        what.seconds += time.perf_counter() - began


@contextmanager
def _kept(what: str) -> Iterator[None]:
    """Goes on after an error: the trial is more than its scores."""
    try:
        yield
    except Exception as error:
        print(f"{what} could not be scored: {type(error).__name__}: {error}")
