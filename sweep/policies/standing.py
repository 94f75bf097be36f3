"""The state of a race: the answer's own comparison of the trials that the race requested."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sweep.answer.compare import Compared, compare
from sweep.answer.costs import Cost
from sweep.answer.groups import Group
from sweep.answer.measured import Measured, far_off
from sweep.answer.recommend import choose
from sweep.policies.policy import Results
from sweep.policies.race import Arm, Place, Standing
from sweep.statistics.choice import corrected
from sweep.statistics.examples import Shared


@dataclass(frozen=True)
class ByBounds:
    """Judges a race by what the answer would say.

    Attributes:
        margin: how far above the best a loss may be, as a fraction of it.
        shared: given the compared losses by trial, returns the held-out examples that these trials share, as in the answer.
            It is called once for each set of trials, since a policy is replayed at every call.
    """

    margin: float
    shared: Callable[[Mapping[str, float]], Shared]
    _seen: dict[Any, Standing] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, arms: Sequence[Arm], results: Results, tried: int) -> Standing:
        key = (
            tuple(arm.label for arm in arms),
            tuple(sorted((one.trial_id, one.status, one.loss) for one in results.values())),
            tried,
        )
        if key not in self._seen:
            self._seen[key] = self._judged(arms, results, tried)
        return self._seen[key]

    def _judged(self, arms: Sequence[Arm], results: Results, tried: int) -> Standing:
        groups = [_group(arm, results) for arm in arms]
        losses = {row["trial_id"]: row["loss"] for one in groups for row in one.completed}
        bad = far_off(groups, losses)
        found = self.shared({name: loss for name, loss in losses.items() if name not in bad})
        measured = Measured("eval_loss", found.losses, found.examples, found.warnings, bad)
        confidence = corrected(len(arms), tried)
        compared = compare(groups, measured, self.margin, confidence)
        return _standing(arms, compared) if compared else Standing((None,) * len(arms), None, False, ())


def _group(arm: Arm, results: Results) -> Group:
    """An arm's trials as the answer groups them."""
    rows = []
    for trial in arm.trials:
        row = results.get(trial.trial_id)
        if row is not None:
            loss = row.comparable
            status = row.status if row.status != "completed" or np.isfinite(loss) else "diverged"
            rows.append({"trial_id": trial.trial_id, "status": status, "seed": trial.seed, "loss": loss})
    return Group(arm.label, tuple(rows), {})


def _standing(arms: Sequence[Arm], compared: Compared) -> Standing:
    labels = [arm.label for arm in arms]
    place_of = [labels.index(one.label) for one in compared.groups]
    places: list[Place | None] = [None] * len(arms)
    for index, place in enumerate(place_of):
        places[place] = _place(compared, index)
    dearer = [{"memory": Cost(1.0 + place)} for place in place_of]
    pick = choose(compared, dearer, ("memory",))
    nearest = tuple(place_of[int(index)] for index in np.argsort(compared.differences, kind="stable"))
    return Standing(tuple(places), place_of[pick], compared.decided(pick), nearest)


def _place(compared: Compared, index: int) -> Place:
    found = compared.comparison(index)
    shown = found.verdict == "worse" and found.basis == "seeds"
    out = shown or (index != compared.best and compared.far_worse(index, compared.best))
    kept: Collection[str] = ("difference", "lower", "upper", "basis", "seeds", "verdict")
    return Place(found.verdict, out, {name: value for name, value in asdict(found).items() if name in kept})
