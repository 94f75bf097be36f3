"""What a user may get wrong: one message that says what, what was got and how to mend it; exit 2; nothing written."""

import json
from pathlib import Path

import pytest

from sweep.grid import main
from tests import toys

ROWS = [{"instruction": f"say {n}", "input": "", "output": f"word {n}"} for n in range(20)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toys.model(tmp_path_factory.mktemp("model"), "llama"))


@pytest.fixture
def rows(tmp_path: Path) -> str:
    return write(tmp_path / "rows.json", ROWS)


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text(json.dumps(rows))
    return str(path)


def refused(words: list[str], store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command; asserts that it was refused with nothing written; returns what it said."""
    assert main([*words, "--storage_path", str(store)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "Traceback" not in said.err
    assert not store.exists()
    return said.err


FLAGS = [
    (["--learnin_rate", "1e-4"], "--learnin_rate: there is no such setting. Did you mean learning_rate?"),
    (["--max_steps", "many"], "--max_steps: expected a whole number, got 'many'"),
    (["--lora_r", "8", "8"], "--lora_r: 8 is there twice"),
    (["--lora_r", "0"], "--lora_r: 0 cannot be used: give whole numbers from 1, or `full`"),
    (["--lora_r", "-4"], "--lora_r: -4 cannot be used"),
    (["--lora_r"], "--lora_r: the axis is empty"),
    (["--grid", "learning_rate="], "--grid learning_rate: the axis is empty"),
    (["--grid", "learning_rate=1", "--grid", "learning_rate=2"], "--grid learning_rate: the axis is named twice"),
    (["--lora_r", "full", "--lora_alpha", "16"], "--lora_alpha: means nothing, since every trial is full fine-tuning"),
    (["--lora_target_modules", "nope"], "--lora_target_modules nope: "),
    (["--gpus_per_trial", "1"], "--gpus_per_trial 1: this machine has 0 GPUs"),
    (["--eval_strategy", "sometimes"], "SFTConfig refuses the settings: sometimes is not a valid IntervalStrategy"),
    (["--preset", "dem"], "preset 'dem' is none"),
    (["--config", "/none.yaml"], "--config '/none.yaml' cannot be read"),
    (["stray"], "'stray' belongs to no flag"),
]


@pytest.mark.parametrize(("words", "message"), FLAGS)
def test_flags(
    words: list[str], message: str, model: str, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*words, "--model_name_or_path", model, "--dataset_name", rows], tmp_path / "store", capsys)
    assert message in said


def test_data_without_the_needed_columns(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.json", [{"question": "a", "answer": "b"}] * 3)
    said = refused(["--model_name_or_path", model, "--dataset_name", file], tmp_path / "store", capsys)
    assert "question" in said and "instruction" in said and "prompt" in said


def test_data_with_zero_rows(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("instruction,input,output\n")
    said = refused(["--model_name_or_path", model, "--dataset_name", str(file)], tmp_path / "store", capsys)
    assert "rows" in said


def test_a_row_with_an_empty_output_is_named(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.json", [*ROWS[:4], {**ROWS[4], "output": " "}])
    said = refused(["--model_name_or_path", model, "--dataset_name", file], tmp_path / "store", capsys)
    assert "output" in said and "row" in said and "4" in said


def test_a_model_folder_that_is_none(rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["--model_name_or_path", str(tmp_path), "--dataset_name", rows], tmp_path / "store", capsys)
    assert "no model folder: there is no config.json" in said


def test_a_storage_path_that_cannot_be_written(
    model: str, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    said = refused(["--model_name_or_path", model, "--dataset_name", rows], tmp_path / "file" / "store", capsys)
    assert "--storage_path" in said and "is a file" in said


def test_everything_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.json", [{"a": "b"}])
    words = ["--lora_r", "0", "8", "--max_steps", "x", "--model_name_or_path", str(tmp_path), "--dataset_name", file]
    said = refused(words, tmp_path / "store", capsys)
    for part in ("--lora_r", "--max_steps", "no model folder", "'a'"):
        assert part in said, part


def test_another_base_configuration_is_refused_with_what_differs(
    model: str, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweep import plan
    from sweep.config import resolve
    from sweep.store import Store

    words = [
        "--model_name_or_path",
        model,
        "--dataset_name",
        rows,
        "--storage_path",
        str(tmp_path / "store"),
        "--name",
        "one",
    ]
    config, _ = resolve([*words, "--learning_rate", "1e-4"], False)
    assert config is not None
    Store(config.location).write_sweep(plan.content(config, config.trials(), {}))
    assert main([*words, "--learning_rate", "2e-4"]) == 2
    said = capsys.readouterr().err
    assert "learning_rate: 0.0001 there, 0.0002 now" in said and "--name" in said and "--grid" in said


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_needs_no_heavy_import(flag: str) -> None:
    import subprocess
    import sys

    code = f"import sys; from sweep.grid import main; main(['{flag}']); print('torch' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--lora_r" in done.stdout and done.stdout.endswith("False False\n")
