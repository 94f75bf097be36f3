"""The same rank twice, under two names: no difference may be found."""

import pytest

from sweep import analysis
from sweep.grid import main


@pytest.mark.usefixtures("ray_here")
def test_a_rank_compared_with_itself_is_tied(store: str) -> None:
    chosen = ["--preset", "demo", "--lora_r", "8", "--seeds", "0", "1", "--max_steps", "8", "--grid", "run_name=a,b"]
    chosen += ["--test_split_size", "40"]
    assert main([*chosen, "--name", "aa", "--storage_path", store]) == 0
    found = analysis.answer(analysis.load(f"{store}/aa"))
    assert found.recommendation is not None
    others = {one.label for one in found.configurations} - {found.recommendation.label}
    assert set(found.recommendation.tied) == others and len(others) == 1
    assert "Tied with it" in found.recommendation.text
