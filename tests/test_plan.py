"""What makes a command another sweep."""

from typing import Any

import pytest

from sweep.errors import OtherSweep
from sweep.plan.planning import refuse_other


def content(**base: Any) -> dict[str, Any]:
    return {"base": base, "axes": {"lora_r": [8], "seed": [0]}, "content": {}}


def test_how_often_checkpoints_are_saved_makes_another_sweep_only_where_the_best_is_chosen_from_them() -> None:
    refuse_other(content(save_steps=5), content(save_steps=10), "here")
    with pytest.raises(OtherSweep, match="save_steps: 5 there, 10 now"):
        refuse_other(
            content(save_steps=5, load_best_model_at_end=True),
            content(save_steps=10, load_best_model_at_end=True),
            "here",
        )


def test_the_same_where_the_best_is_chosen_along_an_axis() -> None:
    axes = {"load_best_model_at_end": [False, True]}
    with pytest.raises(OtherSweep, match="save_strategy"):
        refuse_other({**content(save_strategy="epoch"), "axes": axes}, {**content(), "axes": axes}, "here")
