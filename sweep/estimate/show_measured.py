"""A measurement as tables for people, and as one JSON object."""

from dataclasses import asdict
from typing import Any

from sweep.common.formatting import size
from sweep.estimate.measured import Comparison, Line, Measured
from sweep.estimate.show import printed

WORDS = {
    "logging": "Logging at every step against every 50th",
    "precision": "bf16 against fp32",
    "packing": "Packing with a kernel from the Hub against none, both in bf16",
}


def text(found: Measured) -> str:
    """Tables and sentences, as wide as the terminal."""
    return printed([_table(found)], _lines(found))


def _table(found: Measured) -> Any:
    from rich.table import Table

    title = f"{found.steps} steps of each configuration, measured on {found.card_name or found.device_name}"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("configuration")
    for name in ("predicted", "measured", "error", "steps/s", "samples/s", "tokens/s", "of peak", "hours"):
        table.add_column(name, justify="right")
    for line in found.lines:
        table.add_row(line.predicted.label, *_cells(line, found))
    return table


def _cells(line: Line, found: Measured) -> list[str]:
    used, error = line.utilization(found.card), line.error
    rates = [f"{rate:,.3g}" for rate in asdict(line.rates).values()] if line.rates else ["failed"] * 3
    return [
        size(line.predicted.peak_bytes),
        "?" if line.peak_bytes is None else size(line.peak_bytes),
        "?" if error is None else f"{100 * error:+.1f} %",
        *rates,
        "?" if used is None else f"{100 * used:.1f} %",
        "?" if line.hours is None else f"{line.hours:.2f}",
    ]


def _lines(found: Measured) -> list[str]:
    measured = (
        "the peak of torch.cuda.max_memory_allocated"
        if found.device == "cuda"
        else "the growth of resident memory, including the libraries' and the allocator's own, since a CPU's allocator does not count"
    )
    lines = [f"`measured` is {measured}; `error` is the prediction's; hours are for all trials of a configuration."]
    lines += [f"{line.predicted.label} failed: {line.reason}" for line in found.lines if line.reason]
    lines += [f"{WORDS[name]}: {_comparison(one)}" for name, one in found.comparisons.items()]
    if found.hours is not None:
        price = f", ${found.dollars:.2f} at ${found.price_per_hour:.2f} an hour" if found.dollars is not None else ""
        lines.append(
            f"All trials: {found.hours:.2f} hours of one such device{price}. Evaluation, saving and startup are not included."
        )
    return lines


def _comparison(one: Comparison) -> str:
    if one.ratio is None:
        return f"not measured: {one.reason}"
    rates = " and ".join(f"{way.rates.tokens_per_second:,.3g}" for way in one.ways.values())
    return f"{one.ratio:.3f} times as many tokens a second ({rates}; {one.configuration})."


def as_dict(found: Measured) -> dict[str, Any]:
    """The names are those of docs/gpu.md; bytes, seconds, hours and US dollars."""
    return {
        "device": found.device,
        "device_name": found.device_name,
        "gpu": found.card_name,
        "random_weights": found.random_weights,
        "steps": found.steps,
        "versions": dict(found.versions),
        "price_per_hour": found.price_per_hour,
        "hours": found.hours,
        "dollars": found.dollars,
        "configurations": [_configuration(line, found) for line in found.lines],
        "comparisons": {name: _ways(one) for name, one in found.comparisons.items()},
    }


def _configuration(line: Line, found: Measured) -> dict[str, Any]:
    one, ran = line.predicted, line.ran
    none = dict.fromkeys(("steps_per_second", "samples_per_second", "tokens_per_second"))
    return {
        "configuration": one.label,
        "lora_r": one.lora_r if isinstance(one.lora_r, int) else None,
        "trials": one.trials,
        "predicted_peak_memory_bytes": one.peak_bytes,
        "peak_memory_allocated_bytes": ran and ran.allocated_bytes,
        "peak_memory_reserved_bytes": ran and ran.reserved_bytes,
        "peak_rss_bytes": ran and ran.rss_bytes,
        "rss_growth_bytes": ran and ran.rss_growth_bytes,
        "prediction_error": line.error,
        **(asdict(line.rates) if line.rates else none),
        "flops_utilization": line.utilization(found.card),
        "longest": one.extent.longest,
        "typical": one.extent.typical,
        "hours": line.hours,
        "reason": line.reason,
    }


def _ways(one: Comparison) -> dict[str, Any]:
    ways = {name: {**asdict(way.rates), "peak_memory_bytes": way.peak_bytes} for name, way in one.ways.items()}
    return {"configuration": one.configuration, **ways, "ratio": one.ratio, "reason": one.reason}
