"""What `--dry_run` says of disk use, against what a training really leaves."""

from pathlib import Path
from typing import Any

import pytest

from sweep.contract import disk
from sweep.contract.disk import Footprint
from sweep.space import FULL, Rank, trials
from tests.untuned import RESOLVE, context_of, settings
from trainables.predict.footprint import footprints
from trainables.training.train import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return settings(tmp_path_factory.mktemp("disk"))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft asks under the old name
@pytest.mark.parametrize("rank", [128, "full"])
def test_the_sizes_are_those_of_the_checkpoints_that_are_made(base: dict[str, Any], rank: Any, tmp_path: Path) -> None:
    """To a tenth and 60 kB: the trainer's and the optimizer's own books are in no count of parameters."""
    (trial,) = trials(base, [rank], [0], {}, "fixed")
    said = footprints([trial], RESOLVE)[trial.trial_id]
    sizes: list[int] = []
    context = context_of(trial, tmp_path, save=lambda folder, step: sizes.append(size(folder)))
    train(context)
    assert context.final is not None
    assert said.final == pytest.approx(size(context.final), rel=0.1, abs=60_000)
    assert said.newest == pytest.approx(sizes[-1], rel=0.1, abs=60_000)
    assert said.newest - said.final > 150_000  # the optimizer, which is more than that allows


def test_the_best_ones_weights_are_counted_where_they_are_kept(base: dict[str, Any]) -> None:
    plain, best = (
        footprints(trials({**base, "load_best_model_at_end": wanted}, [128], [0], {}, "fixed"), RESOLVE).popitem()[1]
        for wanted in (False, True)
    )
    assert best.final == plain.final and best.newest == plain.newest + plain.final


def test_full_fine_tuning_takes_the_precision_that_the_model_is_loaded_in(base: dict[str, Any]) -> None:
    cases: list[tuple[str, Rank]] = [("float32", FULL), ("bfloat16", FULL), ("bfloat16", 8)]
    wide, narrow, adapter = (
        footprints(trials({**base, "dtype": dtype}, [rank], [0], {}, "fixed"), RESOLVE).popitem()[1]
        for dtype, rank in cases
    )
    assert narrow.newest - narrow.final == pytest.approx((wide.newest - wide.final) / 2)
    same = footprints(trials(base, [8], [0], {}, "fixed"), RESOLVE).popitem()[1]
    assert adapter == same


def test_eight_bit_states_take_a_quarter(base: dict[str, Any]) -> None:
    usual, small = (
        footprints(trials({**base, "optim": optim}, [8], [0], {}, "fixed"), RESOLVE).popitem()[1]
        for optim in ("adamw_torch", "adamw_8bit")
    )
    assert (usual.newest - usual.final) == 4 * (small.newest - small.final)


def test_what_is_said_counts_every_trial_and_says_what_is_not_known() -> None:
    planned = trials({"max_steps": 1000, "test_split_size": 200}, [8, 16], [0, 1], {}, "fixed")
    sizes = {one.trial_id: Footprint(newest=3 * 10**6, final=(one.lora_r or 0) * 10**5) for one in planned[:3]}
    first, second, rows = disk.sentences(planned, sizes)
    assert "3.2 MB at the end, for 3 trials: each keeps its final weights (800 kB to 1.6 MB)" in first
    assert "its newest checkpoint, with the optimizer (3.0 MB)" in first
    assert second == "Disk, checkpoints: not known for 1 trials."
    assert "240 kB for the steps of all trials and 12 kB for their held-out examples" in rows
    assert "60 kB for 1,000 steps of a trial" in disk.sentences(trials({}, [8], [0], {}, "fixed"), {})[-1]
    assert disk.sentences([], {}) == []


def test_of_trials_that_are_chosen_later_the_largest_are_counted() -> None:
    planned = trials({"max_steps": 1000, "test_split_size": 200}, [8, 16], [0, 1], {}, "fixed")
    sizes = {one.trial_id: Footprint(newest=3 * 10**6, final=(one.lora_r or 0) * 10**5) for one in planned}
    checkpoints, rows = disk.sentences(planned, sizes, at_most=3)
    assert "at most 4.0 MB at the end, for at most 3 trials" in checkpoints
    assert "at most 180 kB for the steps of all trials" in rows
