"""The documents' pictures: small, made of rows, and loading nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pictures
from sweep import analysis
from sweep.live.table import page
from sweep.store.loading import Sweep
from sweep.store.store import Store
from tests.answers import row
from tests.test_report import make

MOST = 200_000  # bytes
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@pytest.fixture
def swept(tmp_path: Path) -> Sweep:
    """Three trials on one slot: of 10 s each, one after the other, a step in each second."""
    store = Store(str(tmp_path / "toy"))
    ids = [f"r8-s{seed}" for seed in range(3)]
    store.write_sweep(
        {"axes": {}, "trials": [{"trial_id": name, "lora_r": 8, "seed": s} for s, name in enumerate(ids)]}
    )
    for seed, name in enumerate(ids):
        steps = [
            {
                "trial_id": name,
                "step": step,
                "loss": 9.0 - step,
                "peak_rss_bytes": 10**9,
                "timestamp": at(10 * seed + step),
            }
            for step in range(1, 9)
        ]
        store.write_step_part(name, 1, 0, steps)
        times: dict[str, Any] = {"started_at": at(10 * seed), "ended_at": at(10 * seed + 10), "steps": 8}
        store.write_trial(row(name, seed=seed, **times), {})
    return analysis.load(store.location)


def test_the_live_table_is_that_of_a_moment(swept: Sweep) -> None:
    lines = [text.split() for text, _ in page(*pictures.at(swept, 0.5), 100, 20)]
    assert "1 of 3 trials done · 1 of 1 slots busy · elapsed 0:15 · time left" in " ".join(lines[0])
    assert [next(word for word in line if word.isalpha()) for line in lines[2:5]] == ["completed", "running", "waiting"]
    assert "8/8" in lines[2] and "1.0000" in lines[2]
    assert "5/8" in lines[3] and "4.0000" in lines[3]


def test_the_picture_of_the_table_loads_nothing(swept: Sweep) -> None:
    svg = pictures.live(swept)
    assert svg.startswith("<svg") and "slots&#160;busy" in svg
    assert "url(http" not in svg and "@font-face" not in svg
    assert len(svg) < MOST


@pytest.mark.browser
def test_the_picture_of_the_report_is_small(tmp_path: Path) -> None:
    store = make(tmp_path, configurations=3, seeds=3, steps=60)
    image = pictures.report(analysis.load(store.location))
    assert image.startswith(b"\x89PNG") and len(image) < MOST


def test_the_documents_pictures_are_small() -> None:
    shown = [*(Path(__file__).parents[1] / "docs" / "pictures").iterdir()]
    assert {picture.name for picture in shown} == {pictures.REPORT, pictures.LIVE}
    assert max(picture.stat().st_size for picture in shown) < MOST
