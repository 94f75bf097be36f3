"""The reporter: every row that was put is in the store once, in order, whatever the store does meanwhile."""

import logging
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.store.spool import Spool, recover
from sweep.store.store import Row, Store
from sweep.trial import reporting
from sweep.trial.backlog import LONGEST_S, Backlog
from sweep.trial.reporting import Clock, Reporter


class FastClock(Clock):
    """Time that passes by waiting: 50 ms of it for each real 0.2 ms."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if not condition.wait(None if seconds is None else 0.0002) and seconds is not None:
            self.time += min(seconds, 0.05)


class ToyStore:
    """Parts in memory. The next `failures` writes raise, each second of them after the part is there already."""

    def __init__(self) -> None:
        self.parts: dict[int, list[Row]] = {}
        self.failures: float = 0
        self.open = threading.Event()
        self.open.set()
        self.attempts = 0

    def write(self, sequence: int, rows: list[Row]) -> None:
        self.open.wait()
        self.attempts += 1
        assert sequence >= max(self.parts, default=0), "older rows first: who reads now sees no hole"
        if self.failures > 0:
            self.failures -= 1
            if self.attempts % 2:
                self.parts[sequence] = list(rows)
            raise OSError("the store is away")
        self.parts[sequence] = list(rows)

    @property
    def steps(self) -> list[int]:
        return [row["step"] for _, rows in sorted(self.parts.items()) for row in rows]


def step(number: int, **more: Any) -> Row:
    return {"trial_id": "toy", "attempt": 1, "step": number, "loss": 1 / number, **more}


def steps_to(last: int) -> list[int]:
    return list(range(1, last + 1))


# --- what is due when ------------------------------------------------------------------------------------------------


def backlog(**settings: Any) -> Backlog:
    return Backlog(
        0.0, **{"rows_per_part": 10, "seconds_per_part": 2.0, "capacity": 100, "backoff": (1.0, 8.0), **settings}
    )


def test_a_part_is_due_by_its_rows_or_by_its_age() -> None:
    rows = backlog()
    assert rows.due(0.0) is None
    rows.add(step(1), 1.0)
    assert rows.due(1.5) == 1.5
    assert rows.next(2.9) is None
    for number in range(2, 11):
        rows.add(step(number), 2.9)
    part = rows.next(2.9)
    assert part is not None and part.count == 10


def test_parts_grow_with_the_run() -> None:
    rows, now, count = backlog(rows_per_part=100_000, capacity=100_000), 0.0, 0
    while now < 36_000:
        rows.add(step(count + 1), now)
        due = rows.due(now)
        assert due is not None and due <= LONGEST_S + 1e-6
        now += due + 1e-6
        part = rows.next(now)
        assert part is not None
        rows.settle(part)
        count += 1
    assert count < 1_300


def test_a_refused_part_is_tried_again_later_and_later() -> None:
    rows, now, pauses = backlog(), 0.0, []
    rows.add(step(1), now)
    rows.hurry(now)
    for _ in range(6):
        part = rows.next(now)
        assert part is not None and part.sequence == 1
        pauses.append(rows.refuse(now))
        assert rows.next(now + pauses[-1] / 2) is None
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@given(st.lists(st.sampled_from(["add"] * 5 + ["wait", "write", "refuse", "cut", "hurry"]), min_size=40, max_size=300))
def test_rows_stay_in_order_and_are_counted(moves: list[str]) -> None:
    rows, now, store = backlog(rows_per_part=4, capacity=12), 0.0, ToyStore()

    def write() -> None:
        if part := rows.next(now):
            store.write(part.sequence, part.rows or [])
            rows.settle(part)

    act: dict[str, Callable[[], object]] = {
        "add": lambda: rows.add(step(rows.accepted + 1), now),
        "write": write,
        "refuse": lambda: rows.next(now) and rows.refuse(now),
        "cut": lambda: rows.waiting and rows.cut(now),
        "hurry": lambda: rows.hurry(now),
    }
    for move in moves:
        if move == "wait":
            now += 1.0
        else:
            act[move]()
        assert len(store.steps) + len(rows) + rows.given_up == rows.accepted
        assert (rows.oldest == rows.accepted) == (len(rows) == 0)
    while len(rows):
        rows.hurry(now)
        write()
    assert store.steps == sorted(set(store.steps))
    assert len(store.steps) == rows.accepted - rows.given_up


# --- the whole, with threads -----------------------------------------------------------------------------------------

MOVES = st.one_of(
    st.tuples(st.just("steps"), st.integers(1, 40)),
    st.tuples(st.just("evaluation"), st.just(1)),
    st.tuples(st.just("failures"), st.integers(1, 5)),
    st.tuples(st.just("take"), st.integers(0, 2)),
    st.tuples(st.just("flush"), st.integers(0, 2)),
    st.tuples(st.just("stop"), st.just(1)),
)


def play(reporter: Reporter, store: ToyStore, moves: list[tuple[str, int]]) -> tuple[int, list[int]]:
    """Does the moves up to a stop; returns how many steps were put, and the steps that Tune got."""
    put, taken = 0, []
    for move, number in moves:
        if move in ("steps", "evaluation"):
            for _ in range(number):
                put += 1
                reporter.put(step(put, eval_loss=1.0) if move == "evaluation" else step(put))
        elif move == "failures":
            store.failures += number
        elif move == "take":
            taken += [row["step"] for row in reporter.take(number)]
        elif move == "flush":
            late = reporter.flush(number)
            assert late or store.steps == steps_to(put)
        else:
            break
    return put, taken


@settings(max_examples=150, deadline=None)
@given(st.lists(MOVES, min_size=4, max_size=25), st.booleans())
def test_the_store_ends_with_every_step_once_in_order(moves: list[tuple[str, int]], comes_back: bool) -> None:
    store = ToyStore()
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "spool"
        reporter = Reporter(store.write, spool=spool, rows_per_part=8, capacity=2_000, clock=FastClock())
        put, taken = play(reporter, store, moves)
        if not comes_back:
            store.failures = math.inf
        missing = reporter.close(patience=math.inf if comes_back else 0.5)
        taken += [row["step"] for row in reporter.take(60)]
        assert taken == steps_to(put)
        assert missing == reporter.kept
        if comes_back:
            assert missing == 0
        store.failures = 0
        assert recover(spool, store.write) == missing
        assert store.steps == steps_to(put)
        assert not spool.exists()


def test_a_store_that_hangs_does_not_hold_up_training_and_loses_nothing(tmp_path: Path) -> None:
    store = ToyStore()
    store.open.clear()
    reporter = Reporter(store.write, spool=tmp_path / "spool", rows_per_part=10, capacity=1_000)
    for number in steps_to(900):
        reporter.put(step(number))
    while reporter._overflows():
        reporter.take(0)
    assert list((tmp_path / "spool").glob("*.jsonl"))
    store.open.set()
    assert reporter.close() == 0
    assert store.steps == steps_to(900)
    assert not (tmp_path / "spool").exists()


def test_closing_does_not_wait_for_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "JOIN_S", 0.01)
    store = ToyStore()
    store.open.clear()
    reporter = Reporter(store.write, spool=tmp_path / "spool", rows_per_part=10, clock=FastClock())
    for number in steps_to(95):
        reporter.put(step(number))
    assert reporter.close(patience=1.0) == reporter.kept == 95
    assert reporter.close() == 95
    store.open.set()
    reporter._threads[0].join()
    assert recover(tmp_path / "spool", store.write) == 95
    assert store.steps == steps_to(95)


def test_rows_that_reach_the_store_while_closing_gives_up_are_not_counted() -> None:
    store = ToyStore()

    def write(sequence: int, rows: list[Row]) -> None:
        while not reporter._ended:
            time.sleep(0.001)
        store.write(sequence, rows)

    reporter = Reporter(write)
    reporter.put(step(1))
    reporter.flush(0.0)
    while not reporter._backlog._parts:
        time.sleep(0.001)
    assert reporter.close(patience=0.0) == 0
    assert store.steps == [1]


def test_without_a_spool_rows_past_the_capacity_are_given_up_and_counted() -> None:
    store = ToyStore()
    store.failures = math.inf
    reporter = Reporter(store.write, rows_per_part=10, capacity=50, clock=FastClock())
    for number in steps_to(200):
        reporter.put(step(number))
    assert reporter.missing >= 140  # 50 wait, and up to 10 are being written
    assert reporter.flush(1.0) >= 50
    store.failures = 0
    assert reporter.flush() == 0, "what is given up is not waited for"
    missing = reporter.close()
    assert missing == 200 - len(store.steps)
    assert store.steps[-50:] == list(range(151, 201)), "the newest stay"


def test_a_full_spool_gives_rows_up(tmp_path: Path) -> None:
    store = ToyStore()
    store.open.clear()
    reporter = Reporter(store.write, spool=tmp_path / "spool", spool_bytes=1, rows_per_part=10, capacity=50)
    for number in steps_to(500):
        reporter.put(step(number))
        while reporter._overflows():
            reporter.take(0)
    store.open.set()
    missing = reporter.close()
    assert missing >= 500 - 50 - 10 - 10
    assert store.steps == sorted(set(store.steps)) and len(store.steps) == 500 - missing


def test_a_spool_that_refuses_gives_rows_up(tmp_path: Path) -> None:
    store = ToyStore()
    store.failures = math.inf
    (tmp_path / "file").write_text("no folder can be made below a file")
    reporter = Reporter(store.write, spool=tmp_path / "file" / "spool", rows_per_part=5, capacity=20, clock=FastClock())
    for number in steps_to(40):
        reporter.put(step(number))
    assert reporter.close(patience=0.1) == 40
    assert reporter.kept == 0


def test_the_real_store_raising_for_a_while_loses_no_row(tmp_path: Path) -> None:
    store, broken, attempts = Store(str(tmp_path / "sweep")), threading.Event(), threading.Semaphore(0)

    def write(sequence: int, rows: list[Row]) -> None:
        attempts.release()
        if broken.is_set():
            raise OSError("the store is away")
        store.write_step_part("toy", 1, sequence, rows)

    reporter = Reporter(
        write, spool=tmp_path / "spool", rows_per_part=50, seconds_per_part=0.01, capacity=200, backoff=(0.001, 0.01)
    )
    taken: list[Row] = []
    tune = threading.Thread(target=lambda: drain(reporter, taken))
    tune.start()
    for number in steps_to(6_000):
        if number == 2_000:
            broken.set()
        if number == 4_000:
            for _ in range(5):  # the writer fails a few times
                attempts.acquire()
            broken.clear()
        reporter.put(step(number, timestamp=datetime.now(UTC), grad_norm=math.nan))
        while reporter._backlog.waiting > 150 and reporter._spool and not reporter._spool.full:
            reporter.flush(0.001)  # a fast loop: give the spooler its turn
    assert reporter.close() == 0
    tune.join()
    table = store.steps("toy")
    assert table.column("step").to_pylist() == steps_to(6_000)
    numbers = [row["step"] for row in taken]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 6_000, "who takes too slowly gets the newest"
    times = table.column("timestamp").to_pylist()
    assert all(times[row["step"] - 1] == row["timestamp"] for row in taken)


def drain(reporter: Reporter, into: list[Row]) -> None:
    while rows := reporter.take(60):
        into += rows


def test_take_waits_for_a_row_and_ends_with_the_reporter() -> None:
    reporter = Reporter(ToyStore().write)
    got: list[Row] = []
    tune = threading.Thread(target=lambda: drain(reporter, got))
    tune.start()
    for number in steps_to(100):
        reporter.put(step(number))
    reporter.close()
    tune.join()
    assert [row["step"] for row in got] == steps_to(100)
    assert reporter.take(60) == []


def test_after_closing_rows_are_ignored() -> None:
    store = ToyStore()
    reporter = Reporter(store.write)
    reporter.put(step(1))
    assert reporter.close() == 0
    reporter.put(step(2))
    assert reporter.closed and reporter.close() == 0 and store.steps == [1]
    assert not any(thread.is_alive() for thread in reporter._threads)


def test_an_outage_is_logged_once_at_each_end(caplog: pytest.LogCaptureFixture) -> None:
    store = ToyStore()
    store.failures = 5
    reporter = Reporter(store.write, clock=FastClock())
    reporter.put(step(1))
    with caplog.at_level(logging.WARNING):
        assert reporter.close() == 0
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "The store refused step rows; they are kept and retried in 0.2 s",
        "The store accepts step rows again.",
    ]


def test_spooled_rows_come_back_as_they_were(tmp_path: Path) -> None:
    spool, rows = Spool(tmp_path / "spool"), [step(1, timestamp=datetime.now(UTC), eval_loss=None, epoch=math.inf)]
    spool.save(3, rows)
    assert Spool(tmp_path / "spool").sequences == [3]
    assert spool.load(3) == rows
    with pytest.raises(TypeError, match="object"):
        spool.save(4, [{"step": object()}])
    spool.discard(3)
    spool.remove()
    assert not spool.folder.exists()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="rows_per_part"):
        Reporter(ToyStore().write, rows_per_part=10, capacity=5)


def test_reporting_needs_neither_torch_nor_ray() -> None:
    code = "import sys, sweep.trial.reporting; sys.exit(bool({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
