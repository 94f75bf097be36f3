"""What would settle open questions: more held-out examples, which are cheap, or more seeds of the ranks in question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.answer.answer import Suggestion
from sweep.answer.compare import Compared
from sweep.answer.costs import Costs, cheapest
from sweep.common.formatting import listed, plural
from sweep.statistics import stats
from sweep.statistics.stats import Difference, Term

_MOST_SEEDS = 30
_STEADIER = 2  # more seeds: with five, a spread is five times the others' by chance in 1 % of sweeps, with three in 8 %
_FACTORS = (2, 4, 8, 16)  # of the number of examples


def suggestions(
    compared: Compared, costs: Sequence[Costs], order: Sequence[str], pick: int, confidence: float
) -> tuple[Suggestion, ...]:
    """What to run next, only for the configurations that matter: the pick, and those that could replace it."""
    labels = [one.label for one in compared.groups]
    if len(labels) < 2:
        return (Suggestion((), None, "another rank to compare with: there is only one configuration"),)
    if compared.basis_of(pick) != "seeds":
        return _missing_evidence(compared, labels, pick)
    if compared.uneven:
        return (_spread_check(compared, labels, pick),)
    cheaper = [
        index for index in range(len(labels)) if index != pick and cheapest([costs[pick], costs[index]], order) == 1
    ]
    undecided = [index for index in (pick, *cheaper) if compared.verdict(index) == "undecided"]
    unsettled = [pick] if pick in undecided else [one for one in undecided if compared.basis_of(one) == "seeds"]
    found = [_what_would_settle(compared, labels, index, confidence) for index in unsettled]
    return tuple(_distinct(found))


# --- what any claim needs --------------------------------------------------------------------------------------------


def _missing_evidence(compared: Compared, labels: Sequence[str], pick: int) -> tuple[Suggestion, ...]:
    measured = compared.measured
    found = []
    held_out = measured.metric != "train_loss"
    seeds = {index: len(measured.by_seed(one)) if held_out else 0 for index, one in enumerate(compared.groups)}
    few = [index for index in _contenders(compared, pick) if seeds[index] < stats.MIN_SEEDS]
    if few:
        count = stats.MIN_SEEDS - min(seeds[index] for index in few)
        names = tuple(labels[index] for index in few)
        more = f"{plural(count, 'more seed' if held_out else 'seed')} of {listed(names)}"
        split = "" if held_out else " with a held-out split (--test_split_size), since training loss decides nothing"
        found.append(Suggestion(names, count, f"{more}{split}"))
    if held_out and (measured.examples is None or measured.examples.count < stats.MIN_EXAMPLES):
        what = (
            "clusters of held-out examples" if measured.examples and measured.examples.clusters else "held-out examples"
        )
        text = f"the loss of each of at least {stats.MIN_EXAMPLES} {what}, which a sweep keeps in evals/"
        found.append(Suggestion((), None, text, stats.MIN_EXAMPLES))
    return tuple(found)


def _spread_check(compared: Compared, labels: Sequence[str], pick: int) -> Suggestion:
    """More seeds to check a spread: with three, two may be close together by chance."""
    names = tuple(labels[index] for index in sorted({*_contenders(compared, pick), *compared.uneven}))
    wild = listed([labels[index] for index in compared.uneven])
    more = plural(_STEADIER, "more seed")
    return Suggestion(
        names, _STEADIER, f"{more} of {listed(names)}, to see whether the spread of {wild} stays that large"
    )


def _contenders(compared: Compared, pick: int) -> list[int]:
    """The pick and those that are not far worse; if all are, the nearest one."""
    others = [index for index in range(len(compared.groups)) if index != pick]
    near = [index for index in others if not compared.far_worse(index, pick)]
    return sorted([pick, *(near or [min(others, key=compared.differences.__getitem__)])])


# --- how much more ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Open:
    """A pair whose bound is too wide: the distance of its log ratio from the margin, and the tail probability of the bound."""

    other: int
    pair: Difference
    gap: float
    tail: float
    seeds: int

    def closed(self, more: int, factor: float) -> bool:
        """Whether this many more seeds of both, and this many times the examples, would be enough if all else stays as measured."""
        trained, drawn = self.pair.terms
        kept = self.seeds / (self.seeds + more)  # the share of the variance that remains
        expected = (
            Term(trained.variance * kept, trained.degrees + more),
            Term(np.maximum(drawn.variance - self.pair.repeated * (1 - kept), 0) / factor, drawn.degrees * factor),
        )
        return bool(Difference(self.pair.log_ratio, expected).half_width(self.tail) <= self.gap)


def _what_would_settle(compared: Compared, labels: Sequence[str], index: int, confidence: float) -> Suggestion:
    """What would settle one configuration: that it is within the margin of all others, or beyond it for one of them."""
    pairs = _open_pairs(compared, index, confidence)
    above = [one for one in pairs if one.pair.log_ratio > np.log1p(compared.margin)]
    if above:  # showing that one other is better is enough: take the one that needs the least
        pairs = [min(above, key=lambda one: (_seeds((one,), 1) or _MOST_SEEDS, -one.gap))]
    names = (labels[index], *(labels[one.other] for one in pairs))
    factor = next((one for one in _FACTORS if all(pair.closed(0, one) for pair in pairs)), None)
    return _suggestion(names, _seeds(pairs, 1), factor, _seeds(pairs, _FACTORS[-1]), compared)


def _open_pairs(compared: Compared, index: int, confidence: float) -> list[_Open]:
    count, limit = len(compared.groups), float(np.log1p(compared.margin))
    found = []
    for (k, j), pair in compared.pairs.items():
        if index not in (k, j) or compared.bases[k, j] != "seeds":
            continue
        signed = pair if index == k else Difference(-pair.log_ratio, pair.terms, pair.repeated)
        worse = bool(signed.log_ratio > limit)
        tail = (1 - confidence) / (count * (count - 1) if worse else count - 1)
        gap = abs(float(signed.log_ratio) - limit)
        one, other = (compared.measured.by_seed(compared.groups[place]) for place in (k, j))
        found.append(_Open(j if index == k else k, signed, gap, tail, len(one.keys() & other.keys())))
    return [one for one in found if not one.closed(0, 1)]


def _seeds(pairs: Sequence[_Open], factor: float) -> int | None:
    least = min((one.seeds for one in pairs), default=stats.MIN_SEEDS)
    return next((more for more in range(_MOST_SEEDS - least) if all(one.closed(more, factor) for one in pairs)), None)


def _suggestion(
    names: tuple[str, ...], seeds: int | None, factor: int | None, seeds_with_examples: int | None, compared: Compared
) -> Suggestion:
    held_out = compared.measured.examples
    assert held_out
    unit = "clusters of held-out examples" if held_out.clusters else "held-out examples"
    total = _round(held_out.count * (factor or _FACTORS[-1]))
    examples = f"about {total:,} {unit} instead of {held_out.count:,}"
    of = f"of {listed(names)}"
    if factor:
        also = f", or about {plural(seeds, 'more seed')} {of}" if seeds else ""
        return Suggestion(names, seeds, f"{examples}{also}", total, bool(seeds))
    if seeds:
        return Suggestion(names, seeds, f"about {plural(seeds, 'more seed')} {of}")
    if seeds_with_examples:
        return Suggestion(
            names, seeds_with_examples, f"about {plural(seeds_with_examples, 'more seed')} {of} and {examples}", total
        )
    return Suggestion(
        names,
        None,
        f"another --margin, or far more seeds and {unit}: the difference between {listed(names)} is very close to this one",
    )


def _round(count: int) -> int:
    """To two digits, since it is an estimate."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return round(count / unit) * unit


def _distinct(found: Sequence[Suggestion]) -> list[Suggestion]:
    """Those with different texts."""
    return list({one.text: one for one in found}.values())
