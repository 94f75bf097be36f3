"""What `--dry_run` says of a trial's length is what the trial does."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep import grid
from sweep.contract.length import Length, show
from sweep.space import Trial, trials
from tests import toys
from tests.untuned import RESOLVE, context_of, settings
from trainables.sft import SFT
from trainables.training.train import train

EPOCHS: dict[str, dict[str, Any]] = {
    "an odd last batch": {"num_train_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "packed": {"num_train_epochs": 1, "packing": True, "packing_strategy": "wrapped", "max_length": 20},
    "cut": {"num_train_epochs": 1, "max_length": 8},
}


def trial_of(**given: Any) -> Trial:
    (trial,) = trials(given, [4], [0], {}, "fixed")
    return trial


def length_of(trial: Trial) -> Length:
    return SFT().lengths([trial], RESOLVE)[trial.trial_id]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft asks under the old name
@pytest.mark.parametrize("name", EPOCHS)
def test_steps_and_tokens_are_those_that_the_trainer_makes(name: str, tmp_path: Path) -> None:
    base = {key: value for key, value in settings(tmp_path).items() if key not in ("max_steps", "save_steps")}
    trial = trial_of(**base, save_strategy="no", dataloader_pin_memory=False, **EPOCHS[name])
    context = context_of(trial, tmp_path / "work")
    row = train(context)
    length = length_of(trial)
    assert (length.rows, length.held_out) == (25, 5)
    assert length.steps == context.total_steps
    assert length.epochs == row["epochs"]
    assert length.tokens == row["tokens"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows of 1 to 100 words, a tenth held out, and a model."""
    toys.model(tmp_path / "model")
    for name, most in (("rows.json", 100), ("short.json", 10)):
        rows = [{"text": "total " * (1 + n % most)} for n in range(100)]
        (tmp_path / name).write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_lengths_are_of_whole_rows_and_the_share_that_is_cut_is_counted(place: Path) -> None:
    from transformers import AutoTokenizer

    from trainables.data.rows import load_rows

    base = {"model_name_or_path": "model", "dataset_name": "rows.json", "max_length": 40}
    tokenizer = AutoTokenizer.from_pretrained("model")
    texts = load_rows(base, RESOLVE).train["text"]
    counts = np.array([len(tokenizer(text)["input_ids"]) + 1 for text in texts])  # and the end of the text
    length = length_of(trial_of(**base, max_steps=3))
    assert (length.median, length.p95) == (round(np.median(counts)), round(np.percentile(counts, 95)))
    assert length.longer == (counts > 40).sum() > 0
    assert length.steps == 3 and length.epochs == 3 / 12
    assert length.tokens == round(np.minimum(counts, 40).sum() / 4)


def words(*more: str) -> list[str]:
    own = ["--model_name_or_path", "model", "--storage_path", "store", "--no_bf16", "--max_steps", "3", "--dry_run"]
    return [*own, *more]


def test_dry_run_says_it_once_where_all_trials_are_alike(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = words("--dataset_name", "rows.json", "--max_length", "64")
    assert grid.main(command) == 0
    first = capsys.readouterr()
    assert first.out.count("Length of a trial: 90 rows of a median of ") == 1
    assert "longer than max_length 64: " in first.out and "10 rows held out. 3 steps, 0.25 epochs, about " in first.out
    assert "Tokenizing 100 rows, once" in first.err
    said = first.err.splitlines()
    assert "Predicting the memory of 3 trials." in said
    assert len(set(said)) == len(said), "a warning about the rows is said once, whoever asks for their tokens"
    assert re.search(r"^ r8-\S+ +8 +\S+ +0 +\d+\.\d MB +t4 +to run", first.out, re.MULTILINE)
    assert grid.main(command) == 0
    again = capsys.readouterr()
    assert again.out == first.out and "Tokenizing" not in again.err
    assert not (place / "store").exists()


def test_dry_run_says_it_of_each_trial_where_they_differ(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main(words("--lora_r", "4", "--grid", "dataset_name=rows.json,short.json", "max_length=64,8")) == 0
    table = capsys.readouterr().out.split("Length of each trial")[1].splitlines()[2:6]
    assert len({line.split()[0] for line in table}) == 4
    assert [line.split()[1] for line in table] == ["90"] * 4
    assert len({tuple(line.split()[2:]) for line in table}) == 4


@pytest.mark.parametrize(("longer", "said"), [(0, "none"), (1, "under 0.1 %"), (25, "1.2 %")])
def test_shares(longer: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = Length(2000, 200, 50, 90, longer, 64, 2000, 750, 3.0, 1_234_567)
    trial = trial_of()
    show([trial], {trial.trial_id: one}, None)
    assert f"longer than max_length 64: {said}; 200 rows" in (out := capsys.readouterr().out)
    assert "750 steps, 3 epochs, 1,234,567 tokens." in out
