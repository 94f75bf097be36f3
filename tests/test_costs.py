"""Costs have noise: a configuration is the cheaper one only where the difference is beyond it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis
from sweep.answer.costs import TOLERANCE, TOLERANCE_SHARED, Cost, cheapest, concurrent_trials
from sweep.store.store import Store
from tests.answers import of_rows, recommended, row
from tests.simulate import write_steps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("costs", "order", "expected"),
    [
        ([{"memory": 3.0, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 1),
        ([{"memory": 3.0, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("time", "memory"), 0),
        ([{"memory": 2.01, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 0),
        ([{"memory": None, "time": 9.0}, {"memory": 2.0, "time": 10.0}], ("memory", "time"), 0),
        ([{"memory": None}, {"memory": None}], ("memory",), 0),
        ([{"time": 10.15}, {"time": 10.0}], ("time",), 0),
        ([{"time": 10.25}, {"time": 10.0}], ("time",), 1),
    ],
    ids=["first", "order", "as-good-as-equal", "null-decides-nothing", "nothing-known", "within-2-%", "beyond-2-%"],
)
def test_cheapest(costs: list[dict[str, float | None]], order: tuple[str, ...], expected: int) -> None:
    known = [{name: Cost(value, tolerance=TOLERANCE[name]) for name, value in one.items()} for one in costs]
    assert cheapest(known, order) == expected


def test_a_cost_is_dearer_only_beyond_the_noise_of_both() -> None:
    quiet, loud = Cost(11.0, 0.005, 4, 0.02), Cost(11.0, 0.05, 4, 0.02)
    base = {"time": Cost(10.0, 0.005, 4, 0.02)}
    assert cheapest([{"time": quiet}, base], ("time",)) == 1
    assert cheapest([{"time": loud}, base], ("time",)) == 0


def timed(rank: int, times: list[float], **values: Any) -> list[dict[str, Any]]:
    return [
        row(f"r{rank}-s{seed}", rank, seed, train_runtime=time, trainable_parameters=rank * 1000, **values)
        for seed, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    ("small", "large", "pick"),
    [
        ([100.0, 101.0, 99.5], [98.6, 99.4, 98.7], "r=4"),  # 1.3 %: as in a small run that took r=16 for it
        ([100.0, 100.5, 99.5], [95.0, 95.5, 94.5], "r=16"),
        ([90.0, 110.0, 100.0], [95.0, 85.0, 105.0], "r=4"),
    ],
    ids=["1.3-%", "beyond-its-noise", "within-its-noise"],
)
def test_time_decides_only_beyond_its_noise_over_seeds(
    tmp_path: Path, small: list[float], large: list[float], pick: str
) -> None:
    assert recommended(of_rows(tmp_path, [*timed(4, small), *timed(16, large)])) == pick


def steps(store: Store, name: str, times: list[float]) -> None:
    write_steps(store, name, [2.0] * len(times))
    rows = [{**one, "step_time_s": time} for one, time in zip(store.steps(name).to_pylist(), times, strict=True)]
    store.write_step_part(name, 2, 0, [{**one, "attempt": 2} for one in rows])
    store.merge_steps(name)


@pytest.mark.parametrize(("jitter", "pick"), [(0.002, "r=16"), (0.1, "r=4")])
def test_with_one_seed_the_noise_is_that_of_the_steps(tmp_path: Path, jitter: float, pick: str) -> None:
    """Neighboring steps are slow together, so tenths of the run are compared and not single steps."""
    store = Store(str(tmp_path / "toy"))
    slow_halves = [0.1 + (jitter if step % 40 < 20 else 0.0) for step in range(100)]
    for name in ("r4-s0", "r16-s0"):
        steps(store, name, slow_halves)
    assert recommended(of_rows(tmp_path, [*timed(4, [100.0]), *timed(16, [95.0])])) == pick


def run(name: str, start: float, end: float, host: str = "a", share: float | None = None) -> dict[str, Any]:
    return {
        "trial_id": name,
        "hostname": host,
        "started_at": NOON + timedelta(seconds=start),
        "ended_at": NOON + timedelta(seconds=end),
        "gpus_per_trial": share,
    }


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([run("one", 0, 10), run("two", 10, 20)], set()),
        ([run("one", 0, 10), run("two", 5, 20)], {"one", "two"}),
        ([run("one", 0, 10), run("two", 5, 20, "b")], set()),
        ([run("one", 0, 30), run("two", 5, 10), run("three", 20, 40)], {"one", "two", "three"}),
        ([run("one", 0, 10, share=0.5)], {"one"}),
        ([run("one", 0, 10, share=1.0)], set()),
        ([row("one"), row("two")], set()),
    ],
    ids=["in-turn", "at-once", "elsewhere", "a-long-one", "half-a-card", "a-card", "unknown"],
)
def test_trials_that_ran_side_by_side(rows: list[dict[str, Any]], shared: set[str]) -> None:
    assert concurrent_trials(rows) == shared


def test_side_by_side_times_have_to_differ_by_more(tmp_path: Path) -> None:
    """Half as far beyond as the other limit asks."""
    assert TOLERANCE_SHARED > 0.06
    small, large = timed(4, [100.0, 100.1, 99.9]), timed(16, [94.0, 94.1, 93.9])
    assert recommended(of_rows(tmp_path / "alone", [*small, *large])) == "r=16"
    beside = [
        {**one, **{key: value for key, value in run("", 0, 10).items() if key != "trial_id"}}
        for one in (*small, *large)
    ]
    assert recommended(of_rows(tmp_path / "beside", beside)) == "r=4"


def test_the_smaller_rank_is_the_cheaper_one_where_no_cost_tells(tmp_path: Path) -> None:
    found = of_rows(tmp_path, [row("large", 16), row("small", 4), row("full", None)])
    assert recommended(found) == "r=4"
    assert analysis.render(found, "table")
