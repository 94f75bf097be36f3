"""Half the micro-batch, twice the accumulation: the same batch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.plan.shrink import ACCUMULATION, DEFAULTS, EVALUATION, MICRO, can_shrink, shrunk
from sweep.space import Trial, trials


def trial(**settings: Any) -> Trial:
    return trials(settings, [8], [0], {}, "fixed")[0]


@given(st.none() | st.integers(1, 64), st.none() | st.integers(1, 8))
def test_a_steps_batch_stays_the_same(micro: int | None, accumulation: int | None) -> None:
    given_ = {key: value for key, value in ((MICRO, micro), (ACCUMULATION, accumulation)) if value is not None}
    before = {**DEFAULTS, **given_}
    again = shrunk(trial(**given_))
    if before[MICRO] % 2:
        assert again is None
        return
    assert again and again.settings[MICRO] * again.settings[ACCUMULATION] == before[MICRO] * before[ACCUMULATION]
    assert again.settings[MICRO] == again.columns["micro_batch"] == before[MICRO] // 2
    assert again.settings[EVALUATION] == 4
    assert (
        again.columns["config_hash"] == again.trial.config_hash
        and again.columns["settings"] == trial(**given_).columns()["settings"]
    )


@pytest.mark.parametrize(
    ("settings", "row", "expected"),
    [
        ({}, {"status": "oom", "micro_batch": None, "train_loss": None}, True),
        ({}, {"status": "oom", "micro_batch": 4, "train_loss": None}, False),
        ({}, {"status": "oom", "micro_batch": None, "train_loss": 2.5}, False),  # in the evaluation, after training
        ({}, {"status": "failed", "micro_batch": None, "train_loss": None}, False),
        ({}, None, False),
        ({MICRO: 1}, {"status": "oom", "micro_batch": None, "train_loss": None}, False),
    ],
)
def test_it_is_tried_once_and_where_it_can_be(settings: dict[str, Any], row: Any, expected: bool) -> None:
    assert can_shrink(trial(**settings), row) is expected
