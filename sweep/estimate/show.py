"""A prediction as tables for people, and as one JSON object."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sweep.common.formatting import duration, size
from sweep.contract.memory import KINDS
from sweep.estimate.prediction import Predicted, Prediction

WORDS = {
    "parameters": "parameters",
    "gradients": "gradients",
    "optimizer_state": "optimizer",
    "activations": "activations",
    "temporaries": "temporaries",
}

ON_CUDA = (
    "`peak` is what torch.cuda.max_memory_allocated would report; `besides` is what nvidia-smi shows on top of it: the CUDA "
    "context (500 MiB assumed) and the allocator's rounding and fragmentation (5 % assumed)."
)
ON_CPU = "`peak` is the host memory that tensors take; Python and its libraries take more on top of it."


def text(found: Prediction) -> str:
    """Tables and sentences, as wide as the terminal."""
    return printed([_memory(found), _work(found)], _lines(found))


def printed(tables: Sequence[Any], lines: Sequence[str]) -> str:
    """Rich tables and the sentences below them, as wide as the terminal, but at least 100 characters."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=max(100, Console().width))
    for table in tables:
        console.print(table)
    for line in lines:
        console.print(line, highlight=False, markup=False)
    return buffer.getvalue().rstrip()


def _memory(found: Prediction) -> Any:
    from rich.table import Table

    title = f"Peak memory of a training step, predicted ({'GPU' if found.path == 'cuda' else 'CPU'})"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("configuration")
    cuda = found.path == "cuda"
    for name in ("peak", *WORDS.values(), *(["besides"] if cuda else []), *(["fits"] if found.card else [])):
        table.add_column(name, justify="right")
    for one in found.configurations:
        parts = [size(getattr(one.step.memory, kind)) for kind in KINDS]
        fit = ["yes" if one.fits(found.card) else "no"] if found.card else []
        beside = [size(one.beside_bytes)] if cuda else []
        table.add_row(one.label, size(one.peak_bytes), *parts, *beside, *fit)
    return table


def _work(found: Prediction) -> Any:
    from rich.table import Table

    table = Table(title="What the trials take", title_justify="left", box=None)
    table.add_column("configuration")
    for name in ("trials", "steps", "tokens", "FLOP", *(["hours"] if found.hours is not None else [])):
        table.add_column(name, justify="right")
    for one in found.configurations:
        table.add_row(one.label, *_amounts(one, found))
    return table


def _amounts(one: Predicted, found: Prediction) -> list[str]:
    extent, hours = one.extent, one.hours(found.card, found.utilization) if found.card else None
    counts = [
        str(one.trials),
        f"{extent.steps:,}" if extent.steps else "?",
        f"{extent.tokens:,}" if extent.tokens else "?",
    ]
    operations = f"{one.flops:.2e}" if one.flops else "?"
    return [*counts, operations, *([f"{hours:.2f}"] if hours is not None else [])]


def _lines(found: Prediction) -> list[str]:
    lengths = sorted({(one.extent.longest, one.extent.typical) for one in found.configurations})
    rows = "; ".join(f"{longest:,} tokens at most, {typical:,} typically" for longest, typical in lengths)
    lines = [
        f"Rows: {rows}. The longest determine the peak, the typical ones the time. Steps and tokens are for one trial, "
        "FLOP (floating-point operations) and hours for all trials of a configuration.",
        ON_CUDA if found.path == "cuda" else ON_CPU,
    ]
    for one in found.configurations:
        for length, batch in one.largest.items():
            lines.append(
                f"The largest micro-batch of {length:,} tokens that fits: {batch:,} rows ({one.label}, which takes the most)."
            )
    if found.hours is not None:
        price = f", ${found.dollars:.2f} at ${found.price_per_hour:.2f} an hour" if found.dollars is not None else ""
        lines.append(
            f"All trials: {duration(found.hours * 3600)} of one {found.card_name}{price}. Assumed: {found.utilization:.0%} of its peak; "
            "evaluation, saving and startup are not included."
        )
    return [*lines, *dict.fromkeys(note for one in found.configurations for note in one.notes)]


def as_dict(found: Prediction) -> dict[str, Any]:
    """The names are those of docs/estimate.md; bytes, tokens, operations, hours and US dollars."""
    return {
        "device": found.path,
        "gpu": found.card_name,
        "gpu_memory_bytes": found.card.bytes if found.card else None,
        "utilization": found.utilization,
        "price_per_hour": found.price_per_hour,
        "hours": found.hours,
        "dollars": found.dollars,
        "configurations": [_configuration(one, found) for one in found.configurations],
    }


def _configuration(one: Predicted, found: Prediction) -> dict[str, Any]:
    return {
        "configuration": one.label,
        "lora_r": one.lora_r if isinstance(one.lora_r, int) else None,
        "trials": one.trials,
        "peak_memory_allocated_bytes": one.peak_bytes,
        "memory": asdict(one.step.memory),
        "besides_bytes": one.beside_bytes if found.path == "cuda" else None,
        "fits": one.fits(found.card) if found.card else None,
        "largest_batch": {str(length): batch for length, batch in one.largest.items()},
        "longest": one.extent.longest,
        "typical": one.extent.typical,
        "steps": one.extent.steps,
        "tokens": one.extent.tokens,
        "flops": one.flops,
        "hours": one.hours(found.card, found.utilization) if found.card else None,
        "notes": list(one.notes),
    }
