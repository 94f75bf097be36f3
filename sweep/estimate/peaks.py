"""Predicts the memory of a sweep's trials before they run, for `--admit`, `--dry_run` and the trial rows."""

import sys
from collections.abc import Sequence

from sweep.common.formatting import first_few, headline, plural
from sweep.common.names import Resolve
from sweep.common.quiet import notice
from sweep.contract.predictor import Predictor
from sweep.contract.trainable import Trainable
from sweep.space import Trial


class PredictedPeaks:
    """Predicted peaks in bytes by trial id; each trial is predicted once.

    A prediction that fails is left out with a warning: a sweep does not depend on it.
    """

    def __init__(self, trainable: Trainable, resolve: Resolve) -> None:
        self._trainable, self._resolve = trainable, resolve
        self._known: dict[str, int | None] = {}

    def __call__(self, trials: Sequence[Trial]) -> dict[str, int]:
        new = [trial for trial in trials if _key(trial) not in self._known]
        found = self._predict(new) if new else {}
        self._known |= {_key(trial): found.get(trial.trial_id) for trial in new}
        known = {trial.trial_id: self._known[_key(trial)] for trial in trials}
        return {name: size for name, size in known.items() if size is not None}

    def _predict(self, trials: Sequence[Trial]) -> dict[str, int]:
        try:
            predictor = self._trainable.predictor()
        except Exception as error:  # the trainable is the user's
            return _none(trials, error)
        if predictor is None:
            return {}
        notice(f"Predicting the memory of {plural(len(trials), 'trial')}.")
        return self._peaks(trials, predictor)

    def _peaks(self, trials: Sequence[Trial], predictor: Predictor) -> dict[str, int]:
        """All together or, where that fails, a family at a time: one model's failure is not the others'."""
        from sweep.estimate.forecast import families, peaks

        try:
            return peaks(trials, predictor, self._resolve)
        except Exception as error:  # a model's own code may not work on fake tensors
            parts = families(trials)
            if len(parts) == 1:
                return _none(trials, error)
        return {name: size for part in parts for name, size in self._peaks(part, predictor).items()}


def _none(trials: Sequence[Trial], error: Exception) -> dict[str, int]:
    """Says that there is no prediction."""
    names = first_few([trial.trial_id for trial in trials])
    text = f"the memory of {names} cannot be predicted, so it is not compared with the card's: {headline(error)}"
    print(f"warning: {text}", file=sys.stderr)
    return {}


def _key(trial: Trial) -> str:
    return f"{trial.trial_id} {sorted(trial.settings.items(), key=str)}"
