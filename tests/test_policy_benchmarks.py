"""benchmarks.replay and benchmarks.race: small, and what their figures mean."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks import race, replay
from sweep.statistics import stats

TABLE = """model,lora_r,learning_rate,eval_loss
easy,8,1e-4,1.10
easy,8,3e-4,1.00
easy,8,1e-3,1.05
easy,2,1e-4,1.10
easy,2,3e-4,1.001
easy,2,1e-3,1.20
hard,8,1e-4,1.10
hard,8,3e-4,1.00
hard,2,1e-4,1.00
hard,2,3e-4,1.10
hard,2,1e-3,1.30
"""


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_replay_compares_with_the_whole_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`hard` has its smaller rank far off at the larger one's rate, so that the rate below it is not tried."""
    path = tmp_path / "runs.csv"
    path.write_text(TABLE)
    replay.main([str(path), "--margin", "0.005"])
    found = printed(capsys)
    assert found["models"] == 2 and found["same_verdict"] == 1
    assert found["differ"] == [{"model": "hard", "table": 2, "policy": 8}]
    assert found["runs_share"] == round((4 + 4) / 11, 3), "a run that is not in the table was wanted as well"


@pytest.mark.parametrize("margin", ["0.005", "0.01", "0.02"])
def test_half_of_the_published_runs_give_the_same_verdict(margin: str, capsys: pytest.CaptureFixture[str]) -> None:
    replay.main(["benchmarks/data/lr_rank_a.csv", "--margin", margin])
    found = printed(capsys)
    assert found["models"] == 17
    assert found["same_verdict"] >= found["models"] - 1
    assert found["runs_share"] <= 0.5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model,lora_r,learning_rate\na,1,1e-4\n", "no column eval_loss"),
        (
            "model,lora_r,learning_rate,eval_loss\na,1,1e-4,1\na,1,1e-4,2\n",
            "line 3: a, rank 1 at 0.0001 is listed twice",
        ),
        ("model,lora_r,learning_rate,eval_loss\na,one,1e-4,1\n", "line 2: 'one' is not a rank"),
    ],
)
def test_replay_says_what_is_wrong_with_a_table(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as left:
        replay.main([str(path)])
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


def test_race_prints_both_ways_rates_for_every_shape(capsys: pytest.CaptureFixture[str]) -> None:
    race.main(["--sweeps", "4", "--examples", "60", "--noise", "seeds"])
    found = printed(capsys)["seeds"]
    assert found.keys() == race.SHAPES.keys()
    for one in found.values():
        assert 0 < one["hours_share"] <= one["hours_share_most"] < 1 / 3
        for way in ("race", "full_grid"):
            low, high = one[way]["wrong"]["interval"]
            assert low <= one[way]["wrong"]["rate"] <= high
            assert one[way]["right"]["rate"] <= one[way]["decided"]
    assert found["clear_winner"]["race"]["right"]["rate"] == 1


def wrong_picks(sweeps: int) -> int:
    """Of races of which all but the largest rank are a little beyond the margin."""
    noise = replace(race.NOISE["seeds"], examples=60)
    found = race.cell(race.SHAPES["at_the_margin"], noise, sweeps, np.random.default_rng(7))
    rate: float = found["race"]["wrong"]["rate"]
    return round(rate * sweeps)


def test_a_race_that_looks_after_every_seed_makes_no_more_wrong_picks(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = 60
    allowed = int(scipy_stats.binom.isf(0.01, sweeps, 0.05))
    assert wrong_picks(sweeps) <= allowed
    real = stats.Difference.half_width
    monkeypatch.setattr(stats.Difference, "half_width", lambda self, tail: 0.3 * real(self, tail))
    assert wrong_picks(sweeps) > allowed


def test_the_same_sweeps_give_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sweeps", "2", "--examples", "40", "--noise", "seeds", "--shapes", "plateau"]
    race.main(words)
    first = printed(capsys)
    race.main(words)
    assert printed(capsys) == first
