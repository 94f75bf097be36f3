"""What the answer makes of the largest rank's cut adapter: a column, a line, one sentence; no verdict."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sweep import analysis
from sweep.answer.answer import Answer
from sweep.show import cut
from sweep.show.page import render_html
from tests.answers import of_rows, recommended, row
from tests.test_report import figures

LOSSES = {2: 3.181, 8: 3.085, 32: 2.983}
CUT = {"2": 3.077, "8": 2.997}
SIGN = "A sign of starvation"


def rows(
    cut: dict[str, float] | None = None, seeds: int = 2, losses: dict[int, float] = LOSSES
) -> list[dict[str, Any]]:
    """The demo at a rate of 2e-3; seeds are apart by 0.01, the cut ones' as well."""
    made = [
        row(f"r{rank}-s{seed}", rank, seed, eval_loss=loss + seed / 100, steps=60)
        for rank, loss in losses.items()
        for seed in range(seeds)
    ]
    for one in made:
        if cut and one["lora_r"] == 32:
            one["cut_losses"] = json.dumps({rank: loss + one["seed"] / 100 for rank, loss in cut.items()})
    return made


def signs(answer: Answer) -> list[str]:
    return [warning for warning in answer.warnings if SIGN in warning]


def test_a_small_rank_worse_than_the_largest_cut_to_it_is_called_starved(tmp_path: Path) -> None:
    found = of_rows(tmp_path, rows(CUT))
    two, eight, largest = found.configurations
    assert [two.cut_loss, eight.cut_loss] == pytest.approx([3.082, 3.002])
    assert (two.cut_from, eight.cut_from) == ("r=32", "r=32")
    assert (largest.cut_loss, largest.cut_from) == (None, None)
    (sign,) = signs(found)
    assert "r=32's trained adapter, cut to a smaller rank" in sign
    assert re.findall(r"r=\d+ \(.*?\)", sign) == [
        "r=2 (3.0820 against 3.1860)",
        "r=8 (3.0020 against 3.0900)",
    ]


def test_within_the_margin_nothing_is_called_starved(tmp_path: Path) -> None:
    margin = 3.085 / 2.997 - 1
    for name, beyond in (("above", margin * 0.95), ("below", margin * 1.05)):
        (tmp_path / name).mkdir()
        found = of_rows(tmp_path / name, rows({"2": 3.3, "8": 2.997}, seeds=1))
        again = analysis.answer(analysis.load(str(tmp_path / name / "toy")), margin=beyond)
        assert found.metric == "eval_loss"
        assert [len(signs(again)), "r=8" in "".join(signs(again))] == ([1, True] if name == "above" else [0, False])
        assert "r=2 (" not in "".join(signs(again))


def test_no_verdict_and_no_pick_looks_at_it(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    found, plain = of_rows(tmp_path / "with", rows({"2": 1.0, "8": 1.0})), of_rows(tmp_path, rows())
    assert signs(found) and not signs(plain)
    bare = [dataclasses.replace(one, cut_loss=None, cut_from=None) for one in found.configurations]
    warnings = tuple(one for one in found.warnings if SIGN not in one)
    assert dataclasses.replace(found, configurations=tuple(bare), warnings=warnings) == plain
    assert recommended(found) == recommended(plain)


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    made = [one for one in rows(CUT, seeds=3) if (one["lora_r"], one["seed"]) not in ((2, 2), (32, 0))]
    found = of_rows(tmp_path, made)
    assert found.configuration("r=2").cut_loss == pytest.approx(3.087), "seed 1 alone"
    assert found.configuration("r=8").cut_loss == pytest.approx(2.997 + 0.015), "seeds 1 and 2"


def test_each_value_of_a_further_axis_has_its_own_largest_rank(tmp_path: Path) -> None:
    fast = [{**one, "trial_id": f"fast-{one['trial_id']}", "eval_loss": 2.9} for one in rows()]
    axes = [{"learning_rate": 2e-3}] * 6 + [{"learning_rate": 8e-3}] * 6
    found = of_rows(tmp_path, [*rows(CUT), *fast], axes)
    slow = "r=2 learning_rate=0.002"
    assert found.configuration(slow).cut_from == "r=32 learning_rate=0.002"
    assert {one.label for one in found.configurations if one.cut_loss} == {slow, slow.replace("2", "8", 1)}
    assert cut.name_of(found) == "cut from r=32"


def test_a_tuned_sweep_cuts_the_largest_rank_at_its_chosen_rate(tmp_path: Path) -> None:
    slow = rows({"2": 9.0, "8": 9.0}, losses={2: 3.6, 8: 3.5, 32: 3.4})
    best = [{**one, "trial_id": f"best-{one['trial_id']}"} for one in rows(CUT)]
    axes = [{"learning_rate": 3e-4}] * 6 + [{"learning_rate": 2e-3}] * 6
    best_of_two = [one for one in best if one["lora_r"] != 2]
    kept = [*slow, *best_of_two]
    wanted = [{"trial_id": one["trial_id"], "lora_r": one["lora_r"], "seed": one["seed"]} for one in kept]
    note = {"tune": {"key": "learning_rate", "ladder": [3e-4, 2e-3]}, "trials": wanted}
    found = of_rows(tmp_path, kept, axes[: len(kept)], **note)
    two = found.configuration("r=2 learning_rate=0.0003")
    assert two.tuned and two.cut_loss == pytest.approx(3.082), "whatever the rank's own rate"
    assert two.cut_from == "r=32 learning_rate=0.002"
    assert [one.label for one in found.configurations if one.cut_loss and not one.tuned] == []


def test_it_is_shown_by_its_name(tmp_path: Path) -> None:
    found = of_rows(tmp_path, rows(CUT))
    (heading,) = [line for line in analysis.render(found, "markdown").splitlines() if "held-out loss |" in line]
    cells = [part.strip() for part in heading.split("|")]
    assert cells.index("cut from r=32") == cells.index("held-out loss") + 1
    table = analysis.render(found, "table", color=False, width=200)
    (two,) = [line for line in table.splitlines() if " r=2 " in line and "±" in line]
    assert "3.082" in two
    parsed = json.loads(analysis.render(found, "json"))["configurations"][0]
    assert (parsed["cut_loss"], parsed["cut_from"]) == (pytest.approx(3.082), "r=32")
    assert next(csv.DictReader(io.StringIO(analysis.render(found, "csv"))))["cut_from"] == "r=32"


def test_the_picture_by_rank_has_its_line(tmp_path: Path) -> None:
    found = of_rows(tmp_path, rows(CUT))
    page = render_html(analysis.load(str(tmp_path / "toy")), found)
    (line,) = [trace for trace in figures(page)["ranks"]["data"] if trace["name"] == "cut from r=32"]
    assert (line["x"], line["y"]) == ([2, 8, 32], [3.082, 3.002, 2.988]), "it ends in the trained one"
    assert "reduced to the rank by SVD without further training" in page


def test_a_sweep_without_it_shows_nothing_of_it(tmp_path: Path) -> None:
    found = of_rows(tmp_path, rows())
    page = render_html(analysis.load(str(tmp_path / "toy")), found)
    assert "cut from" not in page + analysis.render(found, "table") and cut.name_of(found) is None


@pytest.mark.parametrize("text", ["", "no JSON", "[1, 2]", '{"2": null, "8": "x"}', '{"16": 3.0}'])
def test_what_is_no_loss_is_left_aside(text: str, tmp_path: Path) -> None:
    made = [{**one, "cut_losses": text} if one["lora_r"] == 32 else one for one in rows()]
    assert {one.cut_loss for one in of_rows(tmp_path, made).configurations} == {None}
