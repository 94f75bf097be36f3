"""How often what the models generate is the reference, and whether that speaks against the pick by loss."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweep.answer.answer import Answer, Configuration
from sweep.statistics import exact
from sweep.statistics.stats import Floats
from sweep.store.columns import METRICS
from sweep.store.loading import Sweep

if TYPE_CHECKING:
    import pandas as pd

NAME = "exact_match"


@dataclass(frozen=True)
class Matches:
    """Share of right ones, trials × units. A unit is an example, each distinct one once, or a cluster where data name clusters.

    `independent` is as how many units of one size they count.
    """

    table: "pd.DataFrame"
    independent: int

    @property
    def count(self) -> int:
        return int(self.table.shape[1])

    def of(self, trials: Sequence[str]) -> Floats | None:
        """Mean over the trials, of shape (units,); None where they were not scored."""
        own = [name for name in trials if name in self.table.index]
        means: Floats | None = self.table.loc[own].mean().to_numpy(dtype=float) if own else None
        return means


def read(sweep: Sweep) -> Matches:
    """The units that all scored trials have."""
    frame = sweep.scores[sweep.scores["metric"] == NAME]
    alone = frame["content_hash"].fillna(frame["example_id"].astype(str))
    unit = frame["group"].where(frame["group"].notna(), "\0" + alone)
    shares, sizes = (
        frame.assign(unit=unit).pivot_table(index="trial_id", columns="unit", values="after", aggfunc=how)
        for how in ("mean", "count")
    )
    table = shares.dropna(axis=1)
    return Matches(table, exact.effective_count(sizes[table.columns].max().astype(int).tolist()))


def with_bounds(one: Configuration, right: Matches) -> Configuration:
    """A configuration with bounds on its share of right ones, for its trained models on other examples."""
    share = one.results[NAME]
    if share is None or not right.independent:
        return one
    lower, upper = exact.bounds(share, right.independent)
    return replace(one, results={**one.results, f"{NAME}_lower": lower, f"{NAME}_upper": upper})


def warnings(right: Matches, answer: Answer) -> list[str]:
    """Where another configuration is right more often than the pick by loss, beyond chance with all of them compared to it."""
    pick = answer.recommendation and answer.configuration(answer.recommendation.label)
    if not pick or pick.results[NAME] is None:
        return []
    others = [one for one in answer.compared if one.label != pick.label and one.results[NAME] is not None]
    alpha = (1 - answer.confidence) / max(1, len(others))
    above = [one for one in others if _is_better(right, one, pick, alpha)]
    if not above:
        return []
    best = max(above, key=lambda one: one.results[NAME] or 0.0)
    text = METRICS[NAME].text
    return [
        f"Loss and exact match disagree: {best.label} gives the reference more often than the pick by loss, {pick.label}: "
        f"{text(best.results[NAME])} against {text(pick.results[NAME])} of the held-out prompts, beyond chance for these trained models "
        f"(exact sign test on {right.count} paired examples, {len(others)} compared with the pick). scores/ has what each generated."
    ]


def _is_better(right: Matches, one: Configuration, pick: Configuration, alpha: float) -> bool:
    """Over the seeds that both have, if there are any; else over all of each."""
    both = set(one.seeds) & set(pick.seeds)
    values = [right.of(_trials(each, both)) for each in (one, pick)]
    first, second = values
    return first is not None and second is not None and exact.better(first, second, alpha)


def _trials(one: Configuration, seeds: set[Any]) -> list[str]:
    return [name for name, seed in zip(one.trials, one.seeds, strict=True) if seed in seeds or not seeds]
