"""What Tune raises as it ends is passed on, unless the store is away: then that is what there is to say."""

import pytest

from sweep.run import runner
from sweep.run.watch import Stopper


class Tuner:
    def fit(self) -> None:
        raise EOFError("Ran out of input")  # Tune's own error file, cut off by a full disk


def test_a_store_that_is_away_explains_what_tune_raises() -> None:
    stopper = Stopper()
    with pytest.raises(EOFError):
        runner._fit(Tuner(), stopper)
    stopper.away = True
    runner._fit(Tuner(), stopper)
