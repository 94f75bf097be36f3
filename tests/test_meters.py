"""Memory peaks kept apart, resident memory's peak, and rates of training alone."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.training import meters
from trainables.training.meters import Memory, Throughput, Work, peak_rss_bytes, reset_peak_rss

MIB = 1024**2


class FakeCuda:
    """Stands in for torch.cuda: an allocator that counts, and rounds what it reserves up to 100 bytes."""

    def __init__(self) -> None:
        self.current = self.peak = self.reserved_peak = 0

    def use(self, size: int) -> None:
        """Allocates `size` bytes and frees them again."""
        self.peak = max(self.peak, self.current + size)
        self.reserved_peak = max(self.reserved_peak, -(-self.peak // 100) * 100)

    def reset_peak_memory_stats(self) -> None:
        self.peak, self.reserved_peak = self.current, -(-self.current // 100) * 100

    def memory_stats_as_nested_dict(self) -> dict[str, Any]:
        return {
            "allocated_bytes": {"all": {"current": self.current, "peak": self.peak}},
            "reserved_bytes": {"all": {"peak": self.reserved_peak}},
        }


def test_off_cuda_every_value_is_null() -> None:
    memory = Memory.of("cpu")
    memory.reset()
    with memory.apart():
        pass
    assert set(memory.read().values()) == {None}
    assert memory.evaluation_peak_bytes is None


def test_cuda_that_was_never_used_has_no_values() -> None:
    memory = Memory(SimpleNamespace(memory_stats_as_nested_dict=dict))
    memory.reset()
    assert set(memory.read().values()) == {None}


def test_reading_gives_what_is_allocated_and_the_peaks() -> None:
    cuda = FakeCuda()
    memory = Memory(cuda)
    cuda.use(10_000)  # loading the model
    memory.reset()
    cuda.current = 50
    cuda.use(100)
    assert memory.read() == {
        "memory_allocated_bytes": 50,
        "peak_memory_allocated_bytes": 150,
        "peak_memory_reserved_bytes": 200,
    }


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10_000)), min_size=1))
def test_training_and_evaluation_do_not_mask_each_other(uses: list[tuple[bool, int]]) -> None:
    cuda = FakeCuda()
    memory = Memory(cuda)
    memory.reset()
    for evaluates, size in uses:
        if evaluates:
            with memory.apart():
                cuda.use(size)
                memory.read()  # in mid-evaluation: changes nothing
        else:
            cuda.use(size)
    assert memory.read()["peak_memory_allocated_bytes"] == max(
        (size for evaluates, size in uses if not evaluates), default=0
    )
    assert memory.evaluation_peak_bytes == max((size for evaluates, size in uses if evaluates), default=None)


def test_an_evaluation_that_fails_is_over() -> None:
    cuda = FakeCuda()
    memory = Memory(cuda)
    with pytest.raises(RuntimeError), memory.apart():
        cuda.use(500)
        raise RuntimeError("no memory left")
    cuda.use(100)
    assert memory.read()["peak_memory_allocated_bytes"] == 100
    assert memory.evaluation_peak_bytes == 500


def test_a_second_trial_starts_from_nothing() -> None:
    cuda = FakeCuda()
    memory = Memory(cuda)
    cuda.use(500)
    with memory.apart():
        cuda.use(900)
    memory.reset()
    assert memory.read()["peak_memory_allocated_bytes"] == 0
    assert memory.evaluation_peak_bytes is None


# --- resident memory -------------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(meters, "PROC", tmp_path)
    return tmp_path


def test_the_peak_of_resident_memory_rises_and_can_be_reset() -> None:
    block = bytearray(b"x") * (64 * MIB)
    high = peak_rss_bytes()
    del block
    if reset_peak_rss():  # a container may forbid it
        assert peak_rss_bytes() < high - 32 * MIB
    assert high > 64 * MIB


def test_the_peak_is_read_and_reset_through_proc(proc: Path) -> None:
    (proc / "status").write_text("Name:\tpython\nVmPeak:\t  9999 kB\nVmHWM:\t    1234 kB\nVmRSS:\t  1000 kB\n")
    assert peak_rss_bytes() == 1234 * 1024
    assert reset_peak_rss()
    assert (proc / "clear_refs").read_text() == "5"


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("linux", 1024)])
def test_without_proc_the_peak_is_the_processs(
    proc: Path, monkeypatch: pytest.MonkeyPatch, platform: str, unit: int
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=77))
    monkeypatch.setattr(meters, "PROC", proc / "absent")
    assert peak_rss_bytes() == 77 * unit
    assert not reset_peak_rss()


# --- throughput ------------------------------------------------------------------------------------------------------


def steps(count: int, warmup: float = 10.0) -> list[Work]:
    """`count` steps of 4 samples, 30 tokens and 40 positions: the first five take `warmup` seconds, the others 0.5."""
    return [Work(warmup if number < 5 else 0.5, 4, 30, 40) for number in range(count)]


def measured(works: list[Work]) -> dict[str, float | None]:
    throughput = Throughput()
    for work in works:
        throughput.step(work)
    return throughput.result()


def test_warm_up_steps_count_for_padding_only() -> None:
    assert measured(steps(100)) == {
        "samples_per_second": 8.0,
        "steps_per_second": 2.0,
        "tokens_per_second": 60.0,
        "padding_share": 0.25,
    }


def test_a_short_run_leaves_a_tenth_out() -> None:
    assert measured(steps(30))["steps_per_second"] == pytest.approx(27 / (2 * 10 + 25 * 0.5))
    assert measured(steps(3))["steps_per_second"] == pytest.approx(3 / 30)


def test_nothing_was_counted_where_nothing_was_trained() -> None:
    assert set(measured([]).values()) == {None}


@given(st.lists(st.builds(Work, st.floats(0.001, 10), st.integers(1, 64), st.integers(1, 500), st.integers(500, 900))))
def test_rates_belong_together(works: list[Work]) -> None:
    result = measured(works)
    timed = works[min(5, len(works) // 10) :]
    for name in ("samples", "tokens"):
        rate = result[f"{name}_per_second"]
        total = sum(getattr(work, name) for work in timed)
        assert (rate is None) == (not works)
        assert rate is None or rate * sum(work.seconds for work in timed) == pytest.approx(total)
    share = result["padding_share"]
    assert share is None or 0 <= share < 1
