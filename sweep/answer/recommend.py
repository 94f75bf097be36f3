"""The cheapest configuration that is good enough, and what it saves."""

from collections.abc import Sequence
from typing import Literal

from sweep.answer.advice import suggestions
from sweep.answer.answer import Configuration, Recommendation, Saving
from sweep.answer.compare import Compared
from sweep.answer.costs import Costs, cheapest
from sweep.answer.tuned import Choice
from sweep.answer.wording import paragraph


def recommend(
    compared: Compared,
    configurations: Sequence[Configuration],
    costs: Sequence[Costs],
    prefer: Sequence[str],
    choice: Choice,
) -> Recommendation:
    """Picks among the compared configurations; `configurations` and `costs` are in the order of `compared`."""
    pick = choose(compared, costs, prefer)
    tied, open_pairs = _relations(compared, pick)
    draft = Recommendation(
        label=configurations[pick].label,
        trial_id=_best_trial(compared, pick),
        best=configurations[compared.best].label,
        decided=compared.decided(pick),
        basis=compared.basis_of(pick),
        tied=tuple(configurations[index].label for index in tied),
        not_told_apart=tuple(configurations[index].label for index in open_pairs),
        savings=_savings(configurations, costs, pick, compared.best),
        suggestions=suggestions(compared, costs, prefer, pick, choice.confidence),
        text="",
    )
    return paragraph(draft, compared, configurations, pick, choice.tuned)


def choose(compared: Compared, costs: Sequence[Costs], prefer: Sequence[str]) -> int:
    """The cheapest of those shown to be within the margin; if there are none, of those measured within it."""
    verdicts = [compared.verdict(index) for index in range(len(compared.groups))]
    within = [index for index, verdict in enumerate(verdicts) if verdict == "within"]
    candidates = within or [index for index, above in enumerate(compared.differences) if above <= compared.margin]
    return candidates[cheapest([costs[index] for index in candidates], prefer)]


def _best_trial(compared: Compared, pick: int) -> str:
    trials = compared.measured.by_seed(compared.groups[pick]).values()
    return min(trials, key=compared.measured.losses.__getitem__)


def _relations(compared: Compared, pick: int) -> tuple[list[int], list[int]]:
    """Configurations shown to be tied with the pick, and those neither tied with it nor different from it."""
    sound = not compared.uneven
    tied, different = compared.above.tied(compared.margin)[pick], compared.above.different()[pick]
    others = [
        index
        for index in range(len(compared.groups))
        if index != pick and compared.basis_between(index, pick) != "none"
    ]
    return (
        [index for index in others if tied[index] and sound],
        [index for index in others if not (sound and (tied[index] or different[index]))],
    )


def _savings(
    configurations: Sequence[Configuration], costs: Sequence[Costs], pick: int, best: int
) -> tuple[Saving, ...]:
    roles: list[tuple[int, Literal["best", "full"]]] = [(best, "best")] if best != pick else []
    roles += [
        (index, "full")
        for index, one in enumerate(configurations)
        if one.method == "full" and index not in (best, pick)
    ]
    return tuple(_saving(configurations[index].label, costs[pick], costs[index], role) for index, role in roles)


def _saving(label: str, mine: Costs, theirs: Costs, role: Literal["best", "full"]) -> Saving:
    shares: dict[str, float | None] = {}
    for name, cost in mine.items():
        reference = theirs[name].value
        shares[name] = None if cost.value is None or not reference else 1 - cost.value / reference
    return Saving(label, role, shares["memory"], shares["time"], shares["parameters"])
