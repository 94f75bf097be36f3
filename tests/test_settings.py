"""A setting of the sweep is declared once: its flag, help, YAML key, checks, dry run and record come from that."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from sweep.config import command_line, layers, sweep_config, values
from sweep.config.flags import Flag, Range, declared, flag
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.errors import Complaint, Problem
from sweep.plan import dry_run
from sweep.plan import planning as plan
from sweep.show.reproduce import words

OWN = ["--model_name_or_path", "M", "--dataset_name", "D.json"]
NOT_FLAGS = {"settings", "sources", "notes", "ladders"}


@dataclass(frozen=True, kw_only=True)
class Extended(SweepConfig):
    """What adding a setting takes: this one declaration."""

    shade: Literal["light", "dark"] = flag("light | dark: of the room", "light", "SHADE")
    budget: float | None = flag(
        "hours that may be spent", None, "N", within=Range(above=0, most=9), beyond="A day has 24."
    )
    rungs: tuple[int, ...] = flag("rungs", (), "RUNG", within=Range(least=1, most=99), example="1 2 4")


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SweepConfig", Extended)
    before = set(FLAGS)
    monkeypatch.setattr(sweep_config, "FLAGS", FLAGS)
    for name, one in declared(Extended).items():
        if name not in before:
            monkeypatch.setitem(FLAGS, name, one)


def resolved(*given: str) -> tuple[Any, list[str]]:
    config, problems = layers.resolve([*OWN, *given], False)
    assert config is not None
    return config, [*map(str, config.blamed(problems))]


def test_every_field_but_what_is_put_together_is_a_flag_with_all_that_one_has() -> None:
    assert {field.name for field in dataclasses.fields(SweepConfig)} == FLAGS.keys() | NOT_FLAGS
    for one in FLAGS.values():
        assert one.help and one.hint is not None, one.name
        assert one.metavar or one.hint is bool, one.name
        assert one.example or not one.many, one.name


@pytest.mark.parametrize("one", FLAGS.values(), ids=FLAGS)
def test_a_default_is_a_value_that_its_own_declaration_takes(one: Flag) -> None:
    problems: list[Problem] = []
    if one.default is not None and not one.gathers:
        again = one.read(list(one.default) if one.many else one.default)
        assert values.usable(one, again, problems) == one.default
    assert problems == []


def test_help_shows_every_flag_with_its_default_and_every_choice() -> None:
    shown = "".join(command_line.help_text().split())  # lines break at hyphens, too
    for one in FLAGS.values():
        assert f"--{one.name}" in shown and "".join(one.help.split()) in shown
        assert all(choice in one.help for choice in one.choices) or one.many
    assert "asashare(default:0.005)" in shown
    assert all(name in FLAGS["preset"].help for name in layers.preset_names())


@pytest.mark.usefixtures("extended")
def test_one_declaration_makes_a_flag_a_yaml_key_and_a_typed_setting(tmp_path: Path) -> None:
    assert "light | dark: of the room (default: light)" in command_line.help_text()
    config, problems = resolved("--shade", "dark", "--budget", "1e0", "--rungs", "1", "2")
    assert not problems
    assert (config.shade, config.budget, config.rungs) == ("dark", 1.0, (1, 2))
    (tmp_path / "my.yaml").write_text("shade: dark\nbudget: 3\nrungs: 4\n")
    config, problems = resolved("--config", str(tmp_path / "my.yaml"), "--budget", "none")
    assert not problems
    assert (config.shade, config.budget, config.rungs) == ("dark", None, (4,))


@pytest.mark.usefixtures("extended")
def test_one_declaration_makes_the_checks_and_names_the_setting_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("shade: drak\nrungs: [0, 1]\n")
    _, problems = resolved("--config", str(tmp_path / "my.yaml"), "--budget", "10")
    written = f"(in {tmp_path / 'my.yaml'})"
    assert problems == [
        f"shade {written}: expected one of light, dark, got 'drak'. Did you mean dark?",
        "--budget: must be above 0 and at most 9, got 10. A day has 24.",
        f"rungs {written}: 0 cannot be used: give whole numbers from 1 to 99, as in --rungs 1 2 4.",
    ]


@pytest.mark.usefixtures("extended")
def test_one_declaration_makes_the_record_and_the_command_that_makes_the_sweep_again() -> None:
    config, _ = resolved("--shade", "dark", "--rungs", "1", "2")
    kept = json.loads(json.dumps(plan.content(config, config.trials(), {})))
    assert kept["flags"] == {"shade": "dark", "rungs": [1, 2]}
    again, problems = layers.resolve(words(kept, kept["axes"], kept["base"]), False)
    assert not problems and isinstance(again, Extended)
    assert (again.shade, again.rungs, again.lora_r) == ("dark", (1, 2), config.lora_r)


def test_a_dry_run_says_where_a_secret_came_from_but_not_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    config, _ = resolved("--hub_token", "hf_abcdefghijklmnop")
    dry_run.show(plan.Plan(config, config.trials(), {}), dry_run.Preview())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "hub_token" in line]
    assert line.split() == ["hub_token", "'***'", "flag"]


@pytest.mark.usefixtures("extended")
def test_one_declaration_makes_the_line_of_the_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    config, _ = resolved("--shade", "dark")
    dry_run.show(plan.Plan(config, config.trials(), {}), dry_run.Preview())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["shade", "dark", "flag"] in lines
    assert not any(line[:1] == ["margin"] for line in lines), "a default that nobody chose"


def test_the_margins_default_and_range_stand_once_in_the_code() -> None:
    """In its declaration: nothing else gives a margin a number or compares one with a number."""
    number = re.compile(
        r"\bmargin\b[^=\n]{0,20}=\s*[\d.]|\bmargin\b\s*[<>]=?\s*[\d.]|[\d.]\s*<=?\s*margin\b", re.IGNORECASE
    )
    assert number.search("MARGIN: float = 0.005") and number.search("if not 0 <= margin < 1:")
    files = [*Path("sweep").rglob("*.py"), *Path("trainables").rglob("*.py")]
    assert [str(file) for file in files if number.search(file.read_text())] == []


def test_a_range_holds_its_bounds_or_does_not() -> None:
    assert [n for n in range(5) if n in Range(least=1, below=4)] == [1, 2, 3]
    assert [n for n in range(5) if n in Range(above=1, most=4)] == [2, 3, 4]
    assert str(Range(above=0, below=1)) == "above 0 and below 1" and str(Range(least=1)) == "at least 1"


def test_a_complaint_says_where_the_value_that_it_is_about_was_read() -> None:
    config = SweepConfig(
        settings={}, grid={"max_steps": (1,)}, sources={"margin": "my.yaml", "grid max_steps": "preset demo"}
    )
    given = [Complaint(key, ": is wrong.") for key in ("margin", "max_steps", "seeds", "margin")]
    assert [*map(str, config.blamed([*given, "the data are empty."]))] == [
        "margin (in my.yaml): is wrong.",
        "grid max_steps (in preset demo): is wrong.",
        "--seeds: is wrong.",
        "the data are empty.",
    ]


def test_a_complaint_about_several_settings_names_each_as_it_was_written(tmp_path: Path) -> None:
    """It did so with the first one only, while names were found in its text."""
    file = tmp_path / "preset.yaml"  # not a preset, whatever it is called
    file.write_text("lora_alpha: 16\nuse_dora: true\n")
    _, (said,) = resolved("--config", str(file), "--lora_r", "full", "--lora_alpha_rule", "rslora")
    blamed = f"lora_alpha (in {file}), use_dora (in {file}), --lora_alpha_rule"
    assert said.startswith(f"{blamed}: has no effect, since every trial is full fine-tuning.")


def test_a_dry_run_of_a_race_says_what_comes_first_and_how_many_there_can_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, problems = resolved("--lora_r", "8", "32", "--tune", "learning_rate", "--race", "--max_seeds", "4")
    assert not problems
    trials = config.trials()
    first = next(trial for trial in trials if trial.lora_r == 32 and trial.settings["learning_rate"] == 3e-4)
    dry_run.show(plan.Plan(config, trials, {}), dry_run.Preview(first=[first], at_most=31))
    said = capsys.readouterr().out
    assert first.trial_id in said and trials[0].trial_id not in said
    assert "learning_rate, LoRA: 0.0003 first, of 1e-06, 3e-06, 1e-05, 3e-05, 0.0001, 0.0003, 0.001, " in said
    assert "Race: at most 4 seeds of a rank" in said and "At most 31 to run, 0 done" in said
