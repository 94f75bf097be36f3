"""The columns of a trial's row that come from its training, over all of its attempts."""

import math
from collections.abc import Sequence
from typing import Any

from sweep.store.store import Row
from trainables.training.callback import StepRows
from trainables.training.meters import Memory, peak_rss_bytes, rates
from trainables.training.resume import Start, Took

TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second")  # the trainer's


def numbers(trainer: Any, rows: Sequence[Row]) -> Row:
    """The training columns, over all attempts."""
    losses = [row["loss"] for row in rows]
    parameters = list(trainer.model.parameters())
    return {
        # Summed as the trainer sums it, so that a resumed trial has the loss of an uninterrupted one, to the last bit.
        "train_loss": sum(losses) / len(losses) if losses and all(map(math.isfinite, losses)) else None,
        "epochs": trainer.state.epoch,
        "tokens": _tokens(rows),
        "trainable_parameters": sum(one.numel() for one in parameters if one.requires_grad),
        "total_parameters": sum(one.numel() for one in parameters),
    }


def took(begin: Start, steps: StepRows, seconds: float) -> Took | None:
    """What all attempts took, including this one's `seconds`; None if the earlier ones' is unknown."""
    if begin.took is None:
        return None
    peak = max(steps.memory.evaluation_peak_bytes or 0, begin.took.evaluation_peak_bytes or 0) or None
    return Took(begin.took.seconds + seconds, steps.throughput.counted(), peak)


def times(trainer: Any, rows: Sequence[Row], all_took: Took | None) -> Row:
    """Seconds and rates of all attempts together: the trainer's, and those of training alone. All None if unknown."""
    if all_took is None:
        return {}
    seconds = all_took.seconds
    counts = {"samples": _samples(trainer), "steps": trainer.state.global_step, "tokens": _tokens(rows)}
    return {
        "train_runtime": seconds,
        **{f"train_{name}_per_second": count / seconds if seconds else None for name, count in counts.items()},
        **rates(all_took.counted),
    }


def _samples(trainer: Any) -> float:
    """Examples trained on, as the trainer counts them for its own rate: all of them times the share of steps done."""
    args, state = trainer.args, trainer.state
    if args.max_steps > 0:
        return float(state.global_step * args.train_batch_size * args.gradient_accumulation_steps)
    return float(len(trainer.train_dataset) * args.num_train_epochs * state.global_step / max(state.max_steps, 1))


def _tokens(rows: Sequence[Row]) -> int:
    return sum(row["tokens"] or 0 for row in rows)


def peaks(rows: Sequence[Row]) -> Row:
    """The highest memory of any step of any attempt."""
    names = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes")
    found = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: max(values, default=None) for name, values in found.items()}


def device(trainer: Any) -> Row:
    import platform

    import torch

    kind = trainer.args.device.type
    name = torch.cuda.get_device_name() if kind == "cuda" else platform.processor() or platform.machine()
    return {"device": kind, "device_name": name}


def process(memory: Memory, rows: Sequence[Row], begin: Start) -> Row:
    """Host memory and time of the process, earlier attempts included."""
    peaks = [memory.evaluation_peak_bytes, begin.took.evaluation_peak_bytes if begin.took else None]
    return {
        "eval_peak_memory_allocated_bytes": max((peak for peak in peaks if peak is not None), default=None),
        "peak_rss_bytes": max([peak_rss_bytes(), *(row.get("peak_rss_bytes") or 0 for row in rows)]),
    }
