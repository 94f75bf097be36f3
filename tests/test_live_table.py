"""The live table in a given width and height, and where it is drawn."""

import io

import pytest
from rich.console import Console

from sweep.live.curve import BARS
from sweep.live.layout import Column, chosen, fitted, wrapped
from sweep.live.state import Devices, LiveSweep, LiveTrial
from sweep.live.table import page, table
from sweep.live.terminal import redraws
from tests.test_live_left import ended, sweep, trained


def lines(shown: LiveSweep, width: int = 80, height: int = 24, now: float = 60.0) -> list[str]:
    return [text for text, _ in page(shown, now, width, height)]


def named(shown: LiveSweep, *, width: int = 80, height: int = 24) -> list[str]:
    """The seeds of the trials that have a line."""
    return [line.split()[1] for line in lines(shown, width, height) if line.startswith("8 ")]


def many(count: int, running: int = 0, over: int = 0) -> LiveSweep:
    """Trials of which some have ended, the first last, and then some run; a trial's seed is its place."""
    trials = [LiveTrial("8", seed, {"learning_rate": "0.001"}) for seed in range(count)]
    for place, trial in enumerate(trials[: over + running]):
        trial.starts(0.0)
        trial.heard({"step": 1, "loss": 13.5, "total_steps": 7509}, 1.0)
        trial.heard({"step": 7509, "loss": 12.5, "total_steps": 7509, "peak_rss_bytes": 3_100_000_000}, 2.0)
        if place < over:
            trial.ends("completed", 50.0 - place)
    return sweep(*trials)


def test_every_trial_has_a_line_in_its_place_where_there_is_room() -> None:
    assert named(many(9, running=2, over=3)) == [str(seed) for seed in range(9)]


def test_where_there_is_not_running_trials_come_first_then_the_last_that_ended_and_the_others_are_counted() -> None:
    shown = many(20, running=3, over=6)
    assert named(shown, height=7) == ["6", "7", "8", "0"]
    assert lines(shown, height=7)[-1] == "… and 5 completed, 11 waiting"
    assert named(shown, height=14) == ["6", "7", "8", "0", "1", "2", "3", "4", "5", "9", "10"]


@pytest.mark.parametrize("height", [1, 2, 3, 4, 10, 24, 200])
@pytest.mark.parametrize("width", [1, 20, 40, 79, 80, 120, 200, 500])
def test_a_page_never_exceeds_its_terminal(width: int, height: int) -> None:
    shown = many(64, running=32, over=8)
    shown.decisions = ["r=8 gets no more seeds after 2: it is at least 3.00% above the best"] * 9
    found = lines(shown, width, height)
    assert len(found) <= height and max(map(len, found)) <= width


def test_at_80_columns_what_matters_is_whole() -> None:
    heading, first, *_ = lines(many(9, running=2, over=1))[1:]
    assert heading.split() == ["rank", "seed", "learnin…", "status", "step", "loss", "peak", "mem", "left"]
    assert first.split()[:5] == ["8", "0", "0.001", "completed", "7509/7509"]
    assert "12.5000" in first and "3.10 GB" in first
    assert max(map(len, lines(many(9, running=2)))) <= 80


def test_at_40_columns_there_is_the_loss_and_its_curve_shows_how_far_it_is() -> None:
    heading, first, *_ = lines(sweep(trained("8", steps=60, total=120)), width=40)[2:]
    assert heading.split() == ["rank", "seed", "status", "loss"]
    assert first.endswith(" 3.0000")
    assert 0 < sum(character in BARS for character in first) <= 8


def test_at_200_columns_there_is_everything_and_the_curve_is_long() -> None:
    heading, first, *_ = lines(many(9, over=1), width=200)[1:]
    assert heading.split() == [
        "rank",
        "seed",
        "learning_rate",
        "status",
        "step",
        "loss",
        "steps/s",
        "peak",
        "mem",
        "left",
    ]
    assert sum(character in BARS for character in first) == 40


def test_columns_do_not_move_as_trials_go_on() -> None:
    shown = many(9)
    shown.trials["0"].heard({"step": 9, "loss": 3.5, "total_steps": 7509, "peak_rss_bytes": 3_100_000_000}, 1.0)
    before = lines(shown)[1]
    shown.trials["0"].heard({"step": 7509, "loss": 2.5, "total_steps": 7509}, 3.0)
    shown.trials["1"].enters("evaluating", 24, 3.0)
    shown.trials["2"].starts(4.0)
    assert lines(shown)[1] == before


def test_columns_that_do_not_fit_are_left_out_in_their_order() -> None:
    columns = [
        Column("name", 4, 4, lambda trial, _: ""),
        Column("wide", 5, 9, lambda trial, _: "", left_out=1),
        Column("wider", 5, 9, lambda trial, _: "", left_out=2),
    ]
    for width, widths in ((30, [4, 9, 9]), (20, [4, 7, 5]), (18, [4, 5, 5]), (17, [4, 9]), (10, [4]), (2, [4])):
        assert [wide for _, wide in fitted(columns, width)] == widths, width


def test_the_head_says_how_far_the_sweep_is() -> None:
    failed = ended(trained("8"), status="failed")
    shown = sweep(ended(trained("8")), failed, trained("8", steps=6, total=11, seconds=12.0), LiveTrial("8", 3))
    said = "2 of 4 trials done (1 failed) · 1 of 2 slots busy · elapsed 1:00"
    assert lines(shown, width=200)[0] == f"{said} · time left 0:20"
    assert lines(shown, width=70)[:2] == [said, "time left 0:20"]


def test_once_all_have_ended_no_time_is_left_to_say() -> None:
    assert lines(sweep(ended(trained("8"))))[0] == "1 of 1 trials done · 0 of 2 slots busy · elapsed 1:00"


def test_of_gpus_those_that_are_shared_count_by_their_share() -> None:
    assert Devices("GPUs", 4, 0.5, 8).busy(3) == "1.5 of 4 GPUs busy"
    assert Devices("GPUs", 4, 1, 4).busy(3) == "3 of 4 GPUs busy"
    assert Devices("slots", 1, 1, 1).busy(2) == "1 of 1 slots busy", "a node has gone"


def test_a_race_shows_how_many_there_may_be_and_the_newest_decisions() -> None:
    shown = sweep(ended(trained("8")), at_once=1, at_most=3, decisions=[f"decision {number}" for number in range(9)])
    found = lines(shown, width=100)
    assert found[0] == "1 of at most 3 trials done · 0 of 1 slots busy · elapsed 1:00 · time left at most 0:40"
    assert found[-6:] == [f"decision {number}" for number in range(3, 9)]
    few = [line for line in lines(shown, height=12) if line.startswith("decision")]
    assert few == [f"decision {number}" for number in range(6, 9)]


def test_parts_stay_whole_where_they_are_wrapped() -> None:
    assert wrapped(["one two", "three", "four"], 15) == ["one two · three", "four"]
    assert wrapped(["longer than that"], 5) == ["longer than that"]
    assert wrapped([], 5) == []


def test_rich_shows_the_page_in_the_height_of_its_console() -> None:
    console = Console(width=80, height=10, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as shown:
        console.print(table(many(64, running=2, over=1), 60.0))
    assert len(shown.get().splitlines()) == 9
    assert "\x1b[36m" in shown.get(), "what runs is cyan"


def test_no_color_is_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=80, height=10, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as shown:
        console.print(table(many(64, running=2, over=1), 60.0))
    assert "\x1b[36m" not in shown.get() and "running" in shown.get()


def test_more_of_those_that_run_are_shown_before_any_other() -> None:
    shown, others = chosen([ended(trained()), trained(), trained(), LiveTrial("8", 0)], 3)
    assert [trial.status for trial in shown] == ["running", "running"]
    assert [trial.status for trial in others] == ["completed", "waiting"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "in_place"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"FORCE_COLOR": "1"}, False, False),
        ({"NO_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"CI": "true"}, True, False),
        ({"CI": "false"}, True, True),
        ({"JPY_PARENT_PID": "7"}, True, False),
    ],
    ids=lambda value: " ".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else None,
)
def test_a_table_is_drawn_over_again_on_a_terminal_that_somebody_looks_at(
    environ: dict[str, str], terminal: bool, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "CI", "JPY_PARENT_PID", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    environ = {"TERM": "xterm-256color", **environ}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    console = Console(file=Terminal() if terminal else io.StringIO())
    assert redraws(console, environ) is in_place
