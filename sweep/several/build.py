"""One answer for several sweeps, which are compared only if they were evaluated on the same data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from sweep.answer.answer import Answer, Basis, Recommendation, Tuned
from sweep.answer.build import build_answer
from sweep.answer.groups import parsed
from sweep.answer.measured import tokenizers
from sweep.common.formatting import listed
from sweep.contract.trainable import NATS_PER_TOKEN
from sweep.scores.add import with_scores
from sweep.several.merged import Merged, merge, named
from sweep.store.loading import Sweep

_WEAKEST: tuple[Basis, ...] = ("none", "examples", "seeds")


def build(sweeps: Sequence[Sweep], *, margin: float, prefer: Sequence[str]) -> Answer:
    """The answer over all configurations of the sweeps.

    Raises:
        SweepError: as for `sweep.answer.build.build_answer`, or the sweeps cannot be put in one table.
    """
    parts = named(sweeps)
    in_bits = len(tokenizers(row for part in parts.values() for row in part.records())) > 1
    merged = [merge(own) for own in _by_data(parts)]
    answers = [with_scores(one, build_answer(one, margin=margin, prefer=prefer, in_bits=in_bits)) for one in merged]
    return answers[0] if len(answers) == 1 else _joined(merged, answers)


def _by_data(parts: Mapping[str, Sweep]) -> list[dict[str, Sweep]]:
    """Groups sweeps with the same rows and loss unit. One that does not record its data is on its own."""
    found: dict[Any, dict[str, Sweep]] = {}
    for name, part in parts.items():
        rows = [row for row in part.records() if row["status"] == "completed"]
        data = {str(seen) for row in rows if (seen := parsed(row, "provenance").get("data_fingerprint")) is not None}
        key = (frozenset(data), part.config.get("loss_unit", NATS_PER_TOKEN)) if data else name
        found.setdefault(key, {})[name] = part
    return list(found.values())


def _joined(merged: Sequence[Merged], answers: Sequence[Answer]) -> Answer:
    """Merges answers over different data: one table, with each configuration compared within its own data."""
    metrics = {one.metric for one in answers}
    statuses: Counter[str] = Counter()
    for one in answers:
        statuses.update(one.statuses)
    warnings = dict.fromkeys([_apart(merged), *chain.from_iterable(one.warnings for one in answers)])
    return replace(
        answers[0],
        name=", ".join(one.name for one in answers),
        partial=any(one.partial for one in answers),
        metric=metrics.pop() if len(metrics) == 1 else None,
        basis=min((one.basis for one in answers), key=_WEAKEST.index),
        basis_text=" ".join(f"{one.name}: {one.basis_text}" for one in answers),
        statuses=dict(statuses),
        configurations=tuple(chain.from_iterable(one.configurations for one in answers)),
        recommendation=None,
        recommendations=tuple(_of_its_own(one.name, one.recommendation) for one in answers if one.recommendation),
        fronts=tuple(chain.from_iterable(one.fronts for one in answers)),
        differences=tuple(chain.from_iterable(one.differences for one in answers)),
        outcomes=tuple(chain.from_iterable(one.outcomes for one in answers)),
        warnings=tuple(warnings),
        sets=tuple(chain.from_iterable(one.sets for one in answers)),
        tuned=_tuned([one.tuned for one in answers if one.tuned]),
        provenance={name: found for one in answers for name, found in one.provenance.items()},
    )


def _apart(merged: Sequence[Merged]) -> str:
    return (
        f"{listed([listed([*one.parts]) for one in merged], 'against')} were not evaluated on the same data, as far as is recorded: a "
        "loss on other texts says nothing about the configuration, so each is compared with those of its own data alone."
    )


def _of_its_own(names: str, pick: Recommendation) -> Recommendation:
    return replace(pick, text=f"{names}: {pick.text}")


def _tuned(found: Sequence[Tuned]) -> Tuned | None:
    if not found:
        return None
    edges = {label: edge for one in found for label, edge in one.edges.items()}
    return replace(found[0], tried=sum(one.tried for one in found), edges=edges)
