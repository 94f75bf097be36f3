import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import analysis, report
from sweep.show import drawing
from sweep.show.drawing_ranks import BESIDE
from sweep.show.page import render_html, script_json
from sweep.store.store import Store
from tests import tuned
from tests.simulate import Design, losses, trial_id, write, write_steps

HOSTILE = "<script>alert(1)</script>"
LARGEST = 6_000_000  # bytes


def make(folder: Path, configurations: int, seeds: int, steps: int) -> Store:
    """A finished sweep with curves; one trial's memory has a single peak."""
    store = Store(str(folder / "sweep"))
    rng = np.random.default_rng(3)
    design = Design(tuple(0.01 * index for index in range(configurations))[::-1], seeds, interaction=0.005, rest=0.005)
    sums, tokens = losses(design, 1, rng)
    write(store, sums[0], tokens[0])
    curve = 1.8 + np.exp(-np.arange(steps) / (steps / 8))
    for k in range(configurations):
        for seed in range(seeds):
            noisy = [float(loss) for loss in curve + 0.2 * rng.standard_t(4, steps)]
            write_steps(store, trial_id(k, seed), noisy, spike_at=steps // 3)
    return store


def page_of(store: Store) -> str:
    sweep = analysis.load(store.location)
    return render_html(sweep, analysis.answer(sweep))


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found
    parsed: dict[str, Any] = json.loads(found.group(1))
    return parsed


def without_library(page: str) -> str:
    """The page without Plotly's own code."""
    start = page.index("<script>/**")
    return page[:start] + page[page.index("</script>", start) :]


# --- curves ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=400), st.integers(2, 60))
def test_thinning_keeps_the_ends_the_order_and_every_extreme(values: list[float], points: int) -> None:
    kept = drawing.thin(values, points)
    assert kept == sorted(set(kept))
    assert len(kept) <= max(points + 2, 2)
    assert {0, len(values) - 1} <= set(kept)
    known = [value for value in values if not math.isnan(value)]
    if known:
        assert min(known) in [values[index] for index in kept]
        assert max(known) in [values[index] for index in kept]


def test_thinning_keeps_every_peak_that_stands_alone() -> None:
    values = np.zeros(7509)
    peaks = [100, 2500, 7000]
    values[peaks] = 1.0
    assert set(peaks) <= set(drawing.thin(values, 600))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.integers(1, 20))
def test_smoothing_is_the_mean_of_the_neighbors(values: list[float], window: int) -> None:
    half = window // 2
    expected = [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    assert drawing.smooth(np.array(values), window) == pytest.approx(np.array(expected), abs=1e-9)


def test_smoothing_passes_over_what_is_missing() -> None:
    assert drawing.smooth(np.array([1.0, np.nan, 3.0]), 3) == pytest.approx([1.0, 2.0, 3.0])


# --- the page --------------------------------------------------------------------------------------------------------


def test_thirty_long_trials_stay_small_and_keep_their_peaks(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, configurations=10, seeds=3, steps=7509))
    assert len(page.encode()) < LARGEST
    memory = figures(page)["curve-memory_allocated_bytes"]["data"]
    assert len(memory) == 30
    assert all(max(trace["y"]) == 5.0 for trace in memory)  # GB, on a single step of 7,509


def test_the_number_of_trials_does_not_make_the_page_larger() -> None:
    assert drawing.budget(300) * 300 <= drawing.TOTAL
    assert drawing.budget(1) == drawing.LONGEST


def test_seeds_are_a_band_around_a_line_per_configuration(tmp_path: Path) -> None:
    traces = figures(page_of(make(tmp_path, configurations=2, seeds=3, steps=50)))["loss"]["data"]
    lines = [trace for trace in traces if trace.get("meta") == "smooth"]
    assert [trace["name"] for trace in lines] == ["r=4", "r=8"]
    assert len({(trace["line"]["color"], trace["line"]["dash"]) for trace in lines}) == 2
    assert len({trace["line"]["dash"] for trace in lines}) == 2  # told apart without color
    assert sum("fill" in trace for trace in traces) == 2
    raw = [trace for trace in traces if trace.get("meta") == "raw"]
    assert len(raw) == 6 and not any(trace["visible"] for trace in raw)
    low, high = traces[0]["y"], traces[1]["y"]
    assert all(a <= b <= c for a, b, c in zip(low, lines[0]["y"], high, strict=True))


def test_the_picture_of_the_answer_comes_first(tmp_path: Path) -> None:
    store = make(tmp_path, configurations=3, seeds=3, steps=5)
    page = page_of(store)
    found = analysis.answer(analysis.load(store.location))
    plots = figures(page)
    assert next(iter(plots)) == "ranks"
    line, dots = plots["ranks"]["data"]
    assert line["x"] == [4, 8, 16]
    assert line["y"] == pytest.approx([one.loss for one in found.configurations], rel=1e-6)
    rows = {row["trial_id"]: row for row in store.trials().to_pylist()}
    losses = sorted((row["lora_r"], row["eval_loss"]) for row in rows.values())
    assert sorted(zip(dots["x"], dots["y"], strict=True)) == [
        (pytest.approx(rank * BESIDE), pytest.approx(loss)) for rank, loss in losses
    ]
    lowest = min(line["y"])
    for mean, up, down, one in zip(
        line["y"], line["error_y"]["array"], line["error_y"]["arrayminus"], found.configurations, strict=True
    ):
        assert one.comparison and one.comparison.upper is not None and one.comparison.lower is not None
        assert mean + up == pytest.approx(max(lowest * (1 + one.comparison.upper), mean), rel=1e-6)
        assert mean - down == pytest.approx(min(lowest * (1 + one.comparison.lower), mean), rel=1e-6)
    (band,) = plots["ranks"]["layout"]["shapes"]
    assert (band["y0"], band["y1"]) == pytest.approx((lowest, lowest * 1.005), rel=1e-6)
    assert plots["ranks"]["layout"]["xaxis"]["type"] == "log"


def test_full_fine_tuning_is_a_line_across_the_ranks(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "full"))
    shared = {"status": "completed", "seed": 0, "settings": "{}", "steps": 5}
    for name, method, rank, loss in (("a", "lora", 8, 2.0), ("b", "lora", 64, 1.9), ("c", "full", None, 1.8)):
        row = {"trial_id": name, "method": method, "lora_r": rank, "eval_loss": loss, "train_loss": loss, **shared}
        store.write_trial(row, {})
    store.write_sweep({"trials": [], "axes": {}, "base": {}})
    traces = figures(page_of(store))["ranks"]["data"]
    assert [(trace["x"], trace["y"]) for trace in traces if trace["name"] == "full"] == [([8, 64], [1.8, 1.8])]


def test_held_out_loss_is_drawn_where_it_was_measured(tmp_path: Path) -> None:
    store = make(tmp_path, configurations=2, seeds=1, steps=4)
    assert "curve-eval_loss" not in figures(page_of(store))
    name = trial_id(0, 0)
    rows = [
        {"trial_id": name, "attempt": 1, "step": step, "loss": 2.0, "eval_loss": loss}
        for step, loss in ((1, None), (2, 1.9), (3, None), (4, 1.7))
    ]
    store.write_step_part(name, 1, 0, rows)
    store.merge_steps(name)
    (trace,) = figures(page_of(store))["curve-eval_loss"]["data"]
    assert (trace["x"], trace["y"]) == ([2, 4], [1.9, 1.7])


def test_a_value_is_text_wherever_it_stands(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "hostile"))
    provenance = json.dumps({"model_fingerprint": HOSTILE, "versions": {HOSTILE: HOSTILE}})
    shared = {
        "method": "lora",
        "lora_r": 8,
        "seed": 0,
        "eval_loss": 2.0,
        "train_runtime": 1.0,
        "provenance": provenance,
    }
    for name in ("one", "two"):
        store.write_trial(
            {"trial_id": name, "status": "completed", **shared}, {"dataset_name": HOSTILE * (name == "one")}
        )
        write_steps(store, name, [2.0, 1.0])
    failed = {"trial_id": "three", "status": "failed", "method": "lora", "lora_r": 16, "error_message": HOSTILE}
    store.write_trial(failed, {"dataset_name": HOSTILE})
    base = {"model_name_or_path": HOSTILE}
    axes = {"lora_r": [8], "dataset_name": [HOSTILE]}
    store.write_sweep({"axes": axes, "base": base, "trials": [], "provenance": {"x": HOSTILE}})
    page = without_library(page_of(store))
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4
    assert not re.search(r"<script>alert", json.dumps(figures(page)))


@given(st.text() | st.just("</script><!-- & -->"))
def test_no_text_in_the_figures_ends_their_script_element(text: str) -> None:
    written = script_json({"name": text})
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"name": text}


def test_off_cuda_the_memory_plot_says_whose_memory_it_is(tmp_path: Path) -> None:
    store = make(tmp_path, 1, 1, 20)
    sweep = analysis.load(store.location)
    sweep.steps["memory_allocated_bytes"] = None
    plots = figures(render_html(sweep, analysis.answer(sweep)))
    assert plots["curve-peak_rss_bytes"]["data"][0]["y"][0] == 1.0
    assert "Process memory by step" in render_html(sweep, analysis.answer(sweep))


def test_a_running_sweep_has_a_partial_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path / "toy"))
    write_steps(store, "r8", [2.0, 1.9, 1.8])
    store.write_sweep({"axes": {}, "trials": [{"trial_id": "r8", "method": "lora", "lora_r": 8, "seed": 0}]})
    assert report.main([store.location]) == 0
    page = store.read_bytes("report.html").decode()
    assert "Partial:" in page
    assert figures(page)["loss"]["data"]
    assert "partial" in capsys.readouterr().err


def test_the_page_goes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make(tmp_path, 1, 1, 5)
    assert report.main([store.location]) == 0
    assert store.exists("report.html")
    assert capsys.readouterr().out.strip() == store.uri("report.html")
    assert report.main([store.location, "--output", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").exists()


@pytest.mark.parametrize(
    ("words", "message"), [([], "no sweep.json"), (["--output", "/no/such/folder/x.html"], "--output")]
)
def test_a_users_mistake_has_no_traceback(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    location = make(tmp_path, 1, 1, 5).location if words else str(tmp_path)
    assert report.main([location, *words]) == 2
    assert message in capsys.readouterr().err


def test_the_commands_to_reproduce_name_every_setting(tmp_path: Path) -> None:
    store = make(tmp_path, 1, 1, 5)
    store.write_sweep(
        {
            "axes": {"lora_r": [4], "seed": [0, 1], "packing": [True, False]},
            "base": {"model_name_or_path": "a model", "lora_target_modules": ["q", "v"], "bf16": False},
            "rules": {"lora_alpha_rule": "fixed"},
            "provenance": {"git_commit": "abc123"},
            "trials": [],
        }
    )
    page = page_of(store)
    for part in (
        "git checkout abc123",
        "--lora_r 4",
        "--seeds 0 1",
        "--grid packing=true,false",
        "--lora_alpha_rule fixed",
        "--model_name_or_path &#39;a model&#39;",
        "--lora_target_modules q v",
        "--bf16 false",
    ):
        assert part in page


# --- by rank ---------------------------------------------------------------------------------------------------------


def many(folder: Path, *, tuned_axis: bool) -> Store:
    """Six ranks at five learning rates each, with curves: as a grid, or tuned."""
    tried = [
        tuned.Tried(rank, rate, 0.01 * abs(place - 2) + 0.003 * abs(rank - 16) ** 0.5)
        for rank in (2, 4, 8, 16, 32, 64)
        for place, rate in enumerate(tuned.LADDER)
    ]
    store = tuned.write(Store(str(folder / "many")), tried)
    if not tuned_axis:
        store.write_sweep({key: value for key, value in store.read_sweep().items() if key != "tune"})
    for one in tried:
        write_steps(store, one.trial_id(0), [2.0 - 0.01 * step for step in range(20)])
    return store


def entries(figure: dict[str, Any]) -> list[str]:
    """What the legend names."""
    if not figure["layout"].get("showlegend", True):
        return []
    return [trace["name"] for trace in figure["data"] if trace.get("showlegend", True) and trace.get("visible", True)]


def test_thirty_configurations_have_a_legend_by_rank(tmp_path: Path) -> None:
    plots = figures(page_of(many(tmp_path, tuned_axis=False)))
    ranks = [f"r={rank}" for rank in (2, 4, 8, 16, 32, 64)]
    rates = ["learning_rate=0.0001", "0.0003", "0.001", "0.003", "0.01"]
    assert {"ranks", "values", "loss", "front-train_runtime"} <= set(plots)
    assert entries(plots["loss"]) == [*ranks, *rates]
    assert entries(plots["front-train_runtime"]) == ["Pareto front", *ranks, *rates]
    assert entries(plots["values"]) == ranks
    assert entries(plots["ranks"]) == [*rates, "each seed"]
    lines = [trace for trace in plots["loss"]["data"] if trace.get("meta") == "smooth"]
    by_rank: dict[str, set[str]] = {}
    by_rate: dict[str, set[str]] = {}
    for trace in lines:
        by_rank.setdefault(trace["name"].split()[0], set()).add(trace["line"]["color"])
        by_rate.setdefault(trace["name"].split()[1], set()).add(trace["line"]["dash"])
        assert trace["legendgroup"] == trace["name"].split()[0]  # a click hides a rank
    assert all(len(own) == 1 for own in (*by_rank.values(), *by_rate.values()))
    assert len(set.union(*by_rank.values())) == 6 and len(set.union(*by_rate.values())) == 5
    drawn = {trace["name"]: trace["line"]["color"] for trace in plots["values"]["data"]}
    assert {name: {color} for name, color in drawn.items()} == by_rank  # the same color in every picture


def test_a_tuned_sweep_is_drawn_at_each_ranks_best_value(tmp_path: Path) -> None:
    page = page_of(many(tmp_path, tuned_axis=True))
    plots = figures(page)
    ranks = [f"r={rank}" for rank in (2, 4, 8, 16, 32, 64)]
    assert entries(plots["loss"]) == entries(plots["curve-memory_allocated_bytes"]) == ranks
    assert entries(plots["ranks"]) == ["mean over seeds", "each seed"]
    assert plots["bars-train_samples_per_second"]["data"][0]["y"] == [f"{rank} learning_rate=0.001" for rank in ranks]
    assert "--grid" not in page and "--lora_r 2 4" in page  # --tune is among the recorded flags
    (table,) = re.findall(r"<details>(.*?)</details>", page, re.DOTALL)
    assert table.count("<tr>") == 7 and "Each rank’s <code>learning_rate</code>" in table


@pytest.mark.parametrize("tuned_axis", [True, False])
def test_the_loss_against_the_learning_rate_is_a_line_for_each_rank_with_its_lowest_marked(
    tmp_path: Path, tuned_axis: bool
) -> None:
    store = tuned.write(Store(str(tmp_path / "small")))
    if not tuned_axis:
        store.write_sweep({key: value for key, value in store.read_sweep().items() if key != "tune"})
    found = analysis.answer(analysis.load(store.location))
    picture = figures(page_of(store))["values"]
    lines = {trace["name"]: trace for trace in picture["data"]}
    assert {name: trace["x"] for name, trace in lines.items()} == {
        "r=2": [3e-3, 1e-2],
        "r=8": [1e-3, 3e-3],  # 1e-2 diverged
        "r=32": [3e-4, 1e-3, 3e-3],
        "full": [1e-4, 3e-4],
    }
    for name, trace in lines.items():
        assert trace["marker"]["symbol"].count("star") == 1
        best = trace["x"][trace["marker"]["symbol"].index("star")]
        one = found.configuration(f"{name} learning_rate={best:g}")
        assert one.tuned is (True if tuned_axis else None)
        loss = one.tuning_loss if tuned_axis else one.loss
        assert min(trace["y"]) == trace["y"][trace["x"].index(best)] == pytest.approx(loss)
    assert picture["layout"]["xaxis"]["type"] == "log"
    assert picture["layout"]["xaxis"]["ticktext"] == ["0.0001", "0.0003", "0.001", "0.003", "0.01"]


def test_one_learning_rate_has_no_picture_of_its_own(tmp_path: Path) -> None:
    assert "values" not in figures(page_of(make(tmp_path, configurations=2, seeds=1, steps=4)))
