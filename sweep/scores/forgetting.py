"""What training made the models forget: their loss on further held-out sets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sweep.answer.answer import Answer, Configuration, SetLosses
from sweep.answer.compare import Compared, compare
from sweep.answer.groups import Group
from sweep.answer.measured import Measured
from sweep.common.formatting import listed
from sweep.statistics.examples import of_frame
from sweep.store.columns import METRICS
from sweep.store.loading import Sweep

if TYPE_CHECKING:
    import pandas as pd

_PARAMETERS = "trainable_parameters"
_SAME = 1e-6  # relative: base models with losses this close are the same one


def losses(sweep: Sweep, configurations: Sequence[Configuration]) -> tuple[SetLosses, ...]:
    """Each further set's losses, those of every configuration that has any."""
    return tuple(_losses(name, frame, configurations) for name, frame in _by_set(sweep))


def _by_set(sweep: Sweep) -> Iterator[tuple[str, "pd.DataFrame"]]:
    """The rows of each set, with an example's loss after training under the name that it has in evals."""
    frame = sweep.scores[sweep.scores["metric"] == "loss"]
    for name in dict.fromkeys(frame["dataset"]):
        yield str(name), frame[frame["dataset"] == name].assign(loss_sum=lambda own: own["after"])


def _losses(name: str, frame: "pd.DataFrame", configurations: Sequence[Configuration]) -> SetLosses:
    totals = frame.groupby("trial_id")[["before", "after", "tokens"]].sum()
    found: dict[str, dict[str, float]] = {"before": {}, "after": {}}
    for one in configurations:
        own = totals.loc[totals.index.isin(one.trials)]
        for key, by_label in found.items():
            if len(own):
                by_label[one.label] = float((own[key] / own["tokens"]).mean())
    return SetLosses(name, int(frame["example_id"].nunique()), **found)


def warnings(sweep: Sweep, answer: Answer) -> list[str]:
    """Where the pick forgot more than what is cheaper: shown as a difference of held-out losses is, over all sets together."""
    pick = answer.recommendation and answer.configuration(answer.recommendation.label)
    if not pick:
        return []
    frames = dict(_by_set(sweep))
    confidence = 1 - (1 - answer.confidence) / max(1, len(frames))
    found = []
    for one in answer.sets:
        compared = _compared(sweep, frames[one.dataset], answer, confidence)
        less = _that_forgot_less(one, compared, answer, pick) if compared else []
        found += [_text(one, pick.label, less, compared)] if compared and less else []
    return found


def _compared(sweep: Sweep, frame: "pd.DataFrame", answer: Answer, confidence: float) -> Compared | None:
    """The configurations by their loss on a set after training: before it, all of a model had the same."""
    totals = frame.groupby("trial_id")[["loss_sum", "tokens"]].sum()
    by_trial = {str(name): float(total) for name, total in (totals["loss_sum"] / totals["tokens"]).items() if total > 0}
    found = of_frame(frame[frame["trial_id"].isin(list(by_trial))], by_trial, "tokens")
    rows = {row["trial_id"]: row for row in sweep.records()}
    groups = [Group(one.label, tuple(rows[name] for name in one.trials), one.axes) for one in answer.compared]
    return compare(groups, Measured("forgetting", found.losses, found.examples, ()), answer.margin, confidence)


def _that_forgot_less(one: SetLosses, compared: Compared, answer: Answer, pick: Configuration) -> list[str]:
    """The configurations with fewer trainable parameters, of the same base model, that the pick is shown to be above."""
    places = {group.label: place for place, group in enumerate(compared.groups)}
    if pick.label not in places or compared.uneven:
        return []
    above = compared.above.pair_lower[places[pick.label]]
    return [
        other.label
        for other in answer.compared
        if other.label in places
        and _is_cheaper(other, pick)
        and _is_same(one.before, other.label, pick.label)
        and above[places[other.label]] > 0
    ]


def _is_cheaper(one: Configuration, other: Configuration) -> bool:
    mine, theirs = one.results[_PARAMETERS], other.results[_PARAMETERS]
    return mine is not None and theirs is not None and mine < theirs


def _is_same(before: Mapping[str, float], one: str, other: str) -> bool:
    return abs(before[one] - before[other]) <= _SAME * abs(before[other])


def _text(one: SetLosses, pick: str, less: Sequence[str], compared: Compared) -> str:
    text = METRICS["eval_loss"].text
    told = listed([f"{label}'s to {text(one.after[label])}" for label in less])
    places = [place for place, group in enumerate(compared.groups) if group.label in less]
    mine = next(place for place, group in enumerate(compared.groups) if group.label == pick)
    seeds = all(compared.basis_between(mine, place) == "seeds" for place in places)
    what = "whatever the seed" if seeds else "for these trained models"
    return (
        f"The pick, {pick}, forgot more on {one.dataset} than what is cheaper: there its loss went from {text(one.before[pick])} to "
        f"{text(one.after[pick])}, {told}; beyond chance at 95 %, {what}."
    )
