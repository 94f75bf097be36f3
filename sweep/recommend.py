"""The cheapest configuration that is good enough, what it saves, and what would settle the rest."""

from collections.abc import Sequence
from typing import Literal

from sweep import stats
from sweep.answer import Basis, Configuration, Recommendation, Saving, Suggestion
from sweep.compare import Compared
from sweep.metrics import COSTS
from sweep.wording import listed, paragraph


def recommend(
    compared: Compared, shown: Sequence[Configuration], prefer: Sequence[str], confidence: float
) -> Recommendation:
    """Picks among the compared configurations; `shown` are their summaries, in the same order.

    Shown within the margin comes first. Where nothing is, the cheapest of those measured within it is named, undecided.
    """
    verdicts = [compared.verdict(index) for index in range(len(shown))]
    within = [index for index, verdict in enumerate(verdicts) if verdict == "within"]
    candidates = within or [index for index, above in enumerate(compared.differences) if above <= compared.margin]
    costs = [_costs(shown[index]) for index in candidates]
    pick = candidates[stats.cheapest(costs, prefer)]
    basis: Basis = compared.basis_of(pick)
    tied, open_pairs = _relations(compared, pick)
    draft = Recommendation(
        label=shown[pick].label,
        trial_id=_best_trial(compared, pick),
        best=shown[compared.best].label,
        decided=bool(within) and basis == "seeds",
        basis=basis,
        tied=tuple(shown[index].label for index in tied),
        not_told_apart=tuple(shown[index].label for index in open_pairs),
        savings=_savings(shown, pick, compared.best),
        suggestions=_suggestions(compared, shown, pick, prefer, confidence),
        text="",
    )
    return paragraph(draft, compared, shown, pick)


def _costs(one: Configuration) -> dict[str, float | None]:
    return {name: getattr(one, column) for name, column in COSTS.items()}


def _best_trial(compared: Compared, pick: int) -> str:
    trials = compared.measured.by_seed(compared.groups[pick]).values()
    return min(trials, key=compared.measured.losses.__getitem__)


def _relations(compared: Compared, pick: int) -> tuple[list[int], list[int]]:
    """Configurations shown to be tied with the pick, and those neither tied with it nor different from it."""
    tied, different = compared.above.tied(compared.margin)[pick], compared.above.different()[pick]
    others = [
        index
        for index in range(len(compared.groups))
        if index != pick and compared.bases[min(index, pick), max(index, pick)] != "none"
    ]
    return (
        [index for index in others if tied[index]],
        [index for index in others if not tied[index] and not different[index]],
    )


def _savings(shown: Sequence[Configuration], pick: int, best: int) -> tuple[Saving, ...]:
    roles: list[tuple[int, Literal["best", "full"]]] = [(best, "best")] if best != pick else []
    roles += [(index, "full") for index, one in enumerate(shown) if one.method == "full" and index not in (best, pick)]
    return tuple(_saving(shown[pick], shown[index], role) for index, role in roles)


def _saving(pick: Configuration, other: Configuration, role: Literal["best", "full"]) -> Saving:
    mine, theirs = _costs(pick), _costs(other)
    shares: dict[str, float | None] = {}
    for name, value in mine.items():
        reference = theirs[name]
        shares[name] = None if value is None or not reference else 1 - value / reference
    return Saving(other.label, role, shares["memory"], shares["time"], shares["parameters"])


# --- what more would settle it ---------------------------------------------------------------------------------------


def _suggestions(
    compared: Compared, shown: Sequence[Configuration], pick: int, prefer: Sequence[str], confidence: float
) -> tuple[Suggestion, ...]:
    if len(shown) < 2:
        return (Suggestion((), None, "Another rank to compare with: there is only one configuration."),)
    if compared.basis != "seeds":
        return (_more_seeds(compared, shown),)
    pending = _undecided(compared, shown, pick, prefer)
    needed: dict[int | None, list[str]] = {}
    for index in pending:
        other, count = _needed(compared, index, confidence)
        needed.setdefault(count, []).extend([shown[index].label, shown[other].label])
    return tuple(_settling(tuple(dict.fromkeys(labels)), count) for count, labels in needed.items())


def _more_seeds(compared: Compared, shown: Sequence[Configuration]) -> Suggestion:
    """Three seeds of every configuration: fewer say nothing of the ranks, only of the models."""
    least = min(len(compared.measured.by_seed(one)) for one in compared.groups)
    count = max(1, stats.MIN_SEEDS - least)
    labels = tuple(one.label for one in shown)
    held_out = "" if compared.measured.metric != "train_loss" else ", with a held-out split"
    return Suggestion(labels, count, f"{_seeds(count)} of {listed(labels)}{held_out}")


def _undecided(compared: Compared, shown: Sequence[Configuration], pick: int, prefer: Sequence[str]) -> list[int]:
    """Undecided configurations that matter: the pick if it is one, else the cheaper ones, which could take its place."""
    left = [index for index in range(len(shown)) if compared.verdict(index) == "undecided"]
    if pick in left:
        return [pick]
    mine = _costs(shown[pick])
    return [index for index in left if stats.cheapest([mine, _costs(shown[index])], prefer) == 1]


def _needed(compared: Compared, index: int, confidence: float) -> tuple[int, int | None]:
    """The configuration that keeps this one undecided, and how many more seeds of both would settle it."""
    tail = (1 - confidence) / (len(compared.groups) - 1)
    reach = {}
    for (k, j), pair in compared.pairs.items():
        if index in (k, j):
            signed = pair if index == k else stats.Difference(-pair.log_ratio, pair.terms)
            reach[j if index == k else k] = (float(signed.log_ratio + signed.half_width(tail)), signed)
    other = max(reach, key=lambda one: reach[one][0])
    own, theirs = (compared.measured.by_seed(compared.groups[one]) for one in (index, other))
    have = len(own.keys() & theirs.keys())
    total = stats.seeds_needed(reach[other][1], have, compared.margin, tail)
    return other, None if total is None else total - have


def _settling(labels: tuple[str, ...], count: int | None) -> Suggestion:
    if count is None:
        return Suggestion(
            labels,
            None,
            f"more held-out examples or a wider --margin, as more seeds would not tell {listed(labels)} apart",
        )
    return Suggestion(labels, count, f"{_seeds(count)} of {listed(labels)}")


def _seeds(count: int) -> str:
    return f"{count} more seed{'' if count == 1 else 's'}"
