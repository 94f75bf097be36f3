"""From a sweep's rows to the answer."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweep.answer.answer import Answer, Comparison, Configuration, Front, Outcome, Recommendation
from sweep.answer.compare import Compared, compare
from sweep.answer.costs import concurrent_trials, costs_of
from sweep.answer.cut import Cut, cuts, starvation_warnings
from sweep.answer.groups import Group, deviation, group, over_seeds, parsed
from sweep.answer.guards import differences
from sweep.answer.measured import Measured, bits_per_byte, measure
from sweep.answer.recommend import recommend
from sweep.answer.tuned import Choice, choose, tuned_setting, untried
from sweep.answer.wording import basis_text
from sweep.common.column import is_shown
from sweep.common.formatting import listed
from sweep.config.sweep_config import FLAGS
from sweep.errors import SweepError
from sweep.statistics import stats
from sweep.store.columns import COSTS, METRICS
from sweep.store.loading import Sweep

PREDICTED, MEASURED = "predicted_peak_memory_bytes", "peak_memory_allocated_bytes"
_WHY = {
    "pruned": "stopped early by the scheduler, so not trained as long as the others",
    "rejected": "its predicted memory fits no card",
    "diverged": "its loss became NaN or infinite",
    "interrupted": "the sweep was stopped while it ran",
    "running": "has not ended yet",
    "not started": "planned, but not started yet",
}
_PARTIAL = {"running", "not started", "interrupted"}


def build_answer(sweep: Sweep, *, margin: float, prefer: Sequence[str], in_bits: bool = False) -> Answer:
    """Which configuration to take, how certain that is, and what it costs.

    Args:
        margin: how far above the best a loss may be, as a fraction of it.
        prefer: costs, most important first: memory, time, parameters. Those left out follow.
        in_bits: whether to compare held-out loss in bits per byte even if there is only one tokenizer.

    Raises:
        SweepError: the margin or a cost is invalid, or rows cannot be told apart.
    """
    order = _order(margin, prefer)
    rows = [*sweep.records(), *({**row, "status": "not started"} for row in sweep.not_started)]
    groups = group(rows, sweep.axes, tuned_setting(sweep))
    measured = measure(sweep, groups, in_bits)
    choice = choose(sweep, groups, measured)
    compared = compare(choice.groups, measured, margin, choice.confidence)
    cut = cuts(choice.groups, measured, choice.tuned.key if choice.tuned else None)
    configurations = _configurations(sweep, groups, measured, choice, compared, cut)
    with_comparison = [one for one in configurations if one.comparison]
    statuses = Counter(str(row["status"]) for row in rows)
    return Answer(
        name=sweep.name,
        partial=bool(_PARTIAL & statuses.keys()),
        metric=measured.metric,
        confidence=stats.CONFIDENCE,
        margin=margin,
        prefer=order,
        basis=compared.basis if compared else "none",
        basis_text=_basis_text(compared, choice),
        statuses=dict(statuses),
        configurations=configurations,
        recommendation=_recommendation(sweep, compared, choice, with_comparison, order) if compared else None,
        fronts=_fronts(with_comparison),
        differences=differences(groups, sweep.varied, choice.tuned.key if choice.tuned else None),
        outcomes=_outcomes(groups),
        warnings=(
            *measured.warnings,
            *_warnings(statuses, with_comparison, choice.groups),
            *_untried(sweep, groups, statuses),
            *starvation_warnings(cut, margin),
        ),
        tuned=choice.tuned,
        provenance=_provenance(sweep, groups),
    )


def _order(margin: float, prefer: Sequence[str]) -> tuple[str, ...]:
    declared = FLAGS["margin"]
    if margin not in declared.within:
        raise SweepError(f"--margin is {margin}: give a fraction {declared.within}. {declared.beyond}")
    unknown = [name for name in prefer if name not in COSTS]
    if unknown:
        raise SweepError(f"--prefer has {listed(unknown)}: the costs are {listed([*COSTS])}.")
    return tuple(dict.fromkeys([*prefer, *COSTS]))


def _recommendation(
    sweep: Sweep, compared: Compared, choice: Choice, configurations: Sequence[Configuration], order: Sequence[str]
) -> Recommendation:
    shared = concurrent_trials(row for one in compared.groups for row in one.rows)
    costs = [costs_of(one, sweep, shared) for one in compared.groups]
    return recommend(compared, configurations, costs, order, choice)


def _basis_text(compared: Compared | None, choice: Choice) -> str:
    if compared is None or len(compared.groups) < 2:
        return "Nothing to compare: fewer than two configurations have a result."
    return basis_text(compared, stats.CONFIDENCE, choice.tuned)


def _configurations(
    sweep: Sweep,
    groups: Sequence[Group],
    measured: Measured,
    choice: Choice,
    compared: Compared | None,
    cut: Mapping[str, Cut],
) -> tuple[Configuration, ...]:
    places = {one.label: index for index, one in enumerate(compared.groups)} if compared else {}
    bits = bits_per_byte(sweep) if measured.metric in {"eval_loss", "bits_per_byte"} else {}
    return tuple(
        _configuration(
            one,
            measured,
            choice,
            bits,
            compared.comparison(places[one.label]) if compared and one.label in places else None,
            cut.get(one.label),
        )
        for one in groups
    )


def _configuration(
    one: Group,
    measured: Measured,
    choice: Choice,
    bits: Mapping[str, float],
    comparison: Comparison | None,
    cut: Cut | None,
) -> Configuration:
    losses = [measured.losses[name] for name in measured.by_seed(one).values()]
    first = one.rows[0]
    return Configuration(
        label=one.label,
        method=one.method,
        lora_r=first.get("lora_r"),
        lora_alpha=first.get("lora_alpha"),
        axes=one.axes,
        trials=tuple(row["trial_id"] for row in one.completed),
        seeds=tuple(row.get("seed") for row in one.completed),
        loss=statistics.fmean(losses) if losses else None,
        loss_sd=deviation(losses),
        results=_results(one, {"bits_per_byte": bits, "predicted_peak_memory_error": _errors(one)}),
        comparison=comparison,
        tuned=choice.chosen(one.label),
        tuning_loss=choice.loss(one.label),
        cut_loss=cut.loss if cut else None,
        cut_from=cut.source if cut else None,
    )


def _results(one: Group, derived: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    """Every metric; `derived` has those that are not columns of the rows, by trial."""
    found = {}
    for name, column in METRICS.items():
        values = _derived(one, derived[name]) if column.derived else one.values(name)
        found[name] = over_seeds(column, values)
        if column.shown_as.spread:
            found[f"{name}_sd"] = deviation(values)
    return found


def _derived(one: Group, by_trial: Mapping[str, float]) -> list[float]:
    return [by_trial[row["trial_id"]] for row in one.completed if row["trial_id"] in by_trial]


def _errors(one: Group) -> dict[str, float]:
    """The error of each completed trial's memory prediction, as a share of the measured memory."""
    both = [(row["trial_id"], row.get(PREDICTED), row.get(MEASURED)) for row in one.completed]
    return {
        name: float(predicted) / float(measured) - 1 for name, predicted, measured in both if predicted and measured
    }


def _fronts(configurations: Sequence[Configuration]) -> tuple[Front, ...]:
    """Loss against each metric that is shown as a front, and against memory and time together; only measured ones."""
    single = [name for name in dict.fromkeys([*COSTS.values(), *METRICS]) if is_shown(METRICS[name], "front")]
    fronts = []
    for columns in [*([name] for name in single), [COSTS["memory"], COSTS["time"]]]:
        values = np.array(
            [[one.loss, *(one.results[column] for column in columns)] for one in configurations], dtype=float
        )
        if configurations and not np.isnan(values).all(axis=0).any():
            directions = ["min", *(METRICS[column].shown_as.better or "min" for column in columns)]
            front = stats.pareto_front(values, directions)
            labels = tuple(one.label for one, on_front in zip(configurations, front, strict=True) if on_front)
            fronts.append(Front(("loss", *columns), tuple(directions), labels))
    return tuple(fronts)


def _outcomes(groups: Sequence[Group]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(row["trial_id"], one.label, row.get("seed"), str(row["status"]), _reason(row))
        for one in groups
        for row in one.rows
        if row["status"] != "completed"
    )


def _reason(row: Mapping[str, Any]) -> str:
    error = ": ".join(str(row[name]) for name in ("error_type", "error_message") if row.get(name))
    return error or _WHY.get(str(row["status"]), "it left no message")


def _warnings(
    statuses: Mapping[str, int], configurations: Sequence[Configuration], groups: Sequence[Group]
) -> list[str]:
    warnings = []
    missing = [one.label for one in groups if one.label not in {kept.label for kept in configurations}]
    if missing:
        warnings.append(f"Without a result, so not compared: {', '.join(missing)}.")
    others = {status: count for status, count in statuses.items() if status not in {"completed"}}
    if others:
        counted = ", ".join(f"{count} {status}" for status, count in others.items())
        warnings.append(f"{statuses.get('completed', 0)} of {sum(statuses.values())} trials completed; {counted}.")
    if configurations and all(one.results[COSTS["memory"]] is None for one in configurations):
        warnings.append("GPU memory was not measured, so it is not part of the cost.")
    return warnings + _shared(groups)


def _untried(sweep: Sweep, groups: Sequence[Group], statuses: Mapping[str, int]) -> list[str]:
    """Ranks that a sweep with a tuned setting did not train."""
    names = untried(sweep, groups) if tuned_setting(sweep) and not _PARTIAL & statuses.keys() else []
    if not names:
        return []
    return [
        f"Requested but not trained: {', '.join(names)}. --tune tries no rank below one that is beyond the margin at its best "
        "value; decisions/ has the details."
    ]


def _shared(groups: Sequence[Group]) -> list[str]:
    shares = {share for one in groups for share in one.values("gpus_per_trial") if 0 < share < 1}
    if not shares:
        return []
    given = " and ".join(f"{share:g}" for share in sorted(shares))
    return [
        f"Times were measured on shared GPUs (--gpus_per_trial {given}): they depend on what else ran there, and are longer than "
        "on a whole GPU."
    ]


def _provenance(sweep: Sweep, groups: Sequence[Group]) -> dict[str, Any]:
    """From sweep.json or, if it has none, from the first completed trial."""
    found = sweep.config.get("provenance")
    if isinstance(found, dict):
        return dict(found)
    rows = [row for one in groups for row in one.completed]
    return parsed(rows[0], "provenance") if rows else {}
