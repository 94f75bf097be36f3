"""`python -m sweep.estimate`: what a sweep takes before it runs, and what is wrong with the question."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.contract.cards import CARDS, Card, fits, of_device
from sweep.estimate.__main__ import main
from sweep.estimate.forecast import largest_batch
from tests.test_predict import OPT_350M

REPORT = ["--preset", "opt-350m-codealpaca", "--model_name_or_path", OPT_350M, "--rows", "20022", "--length", "100"]

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and peft, about their own names


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    from contextlib import redirect_stdout
    from io import StringIO

    text = StringIO()
    with redirect_stdout(text):
        assert main([*REPORT, "--gpu", "a10g", "--format", "json"]) == 0
    return dict(json.loads(text.getvalue()))


def test_the_reports_sweep_has_its_steps_and_its_price(report: dict[str, Any]) -> None:
    assert [one["configuration"] for one in report["configurations"]] == ["r=8", "r=128", "r=256"]
    for one in report["configurations"]:
        assert one["steps"] == 7509
        assert one["tokens"] == 20022 * 100 * 3
        assert one["fits"]
        assert sum(one["memory"].values()) == one["peak_memory_allocated_bytes"]
    hours = sum(one["flops"] for one in report["configurations"]) / (31.5e12 * 0.3) / 3600
    assert report["hours"] == pytest.approx(hours)
    assert report["dollars"] == pytest.approx(hours * 1.01)


def test_the_largest_batch_fits_and_one_row_more_does_not(report: dict[str, Any]) -> None:
    from trainables.predict.steps import simulate

    found = {one["configuration"]: one["largest_batch"] for one in report["configurations"]}
    assert not found["r=8"]
    batch = found["r=256"]["100"]
    settings = {
        "model_name_or_path": OPT_350M,
        "lora_r": 256,
        "lora_target_modules": ["q_proj", "v_proj"],
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "bf16": False,
        "activation_checkpointing": False,
    }
    sizes = [
        simulate({**settings, "per_device_train_batch_size": rows}, lambda name: name, 100, "cuda").memory.total
        for rows in (batch, batch + 1)
    ]
    assert [fits(size, CARDS["a10g"].bytes) for size in sizes] == [True, False]


@pytest.mark.parametrize("begin", [1, 8, 500])
@pytest.mark.parametrize("room", [0, 10**9, 3 * 10**9, 10**10, 10**11])
def test_a_peak_with_steps_in_it_is_searched_to_the_row_in_few_looks(room: int, begin: int) -> None:
    """A look at a model of 8 B parameters takes seconds, and a search that goes on row by row took 25 of them."""
    looks: list[int] = []

    def peak(rows: int) -> int:
        looks.append(rows)
        bend = max(rows - 100, 0) * 9 * 10**6
        return 10**8 + rows * 7 * 10**6 + min(rows * 30, 4096) * 32768 * 4 + bend

    card = Card(room, 0, 0, None)
    found = largest_batch(peak, card, begin)
    assert found == 0 or fits(peak(found), room)
    assert found == 4096 or not fits(peak(found + 1), room)
    assert len(set(looks)) <= 8


def test_the_table_says_what_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("--preset", "demo", "--lora_r", "2", "full", capsys=capsys)
    assert code == 0
    assert "r=2" in out
    assert "full" in out
    assert "not been validated on a GPU" in out
    assert "500 MiB assumed" in " ".join(out.split())


WRONG = [
    pytest.param([*REPORT, "--gpu", "a11"], "--gpu: expected one of a10g", id="card"),
    pytest.param([*REPORT, "--gpu_memory_gb", "0"], "--gpu_memory_gb: must be above 0", id="memory"),
    pytest.param([*REPORT, "--per_device_train_batch_size", "0"], "per_device_train_batch_size", id="batch"),
    pytest.param([*REPORT[:-1], "3000"], "up to 3,000 tokens. Give a smaller --length.", id="length"),
    pytest.param([*REPORT[:-2]], "give both, or neither", id="rows-alone"),
    pytest.param([*REPORT, "--utilization", "30"], "--utilization: must be a share", id="utilization"),
    pytest.param([*REPORT, "--lora_target_modules", "nothing"], "--lora_target_modules", id="targets"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_a_wrong_question_is_one_message(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(*words, capsys=capsys)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_model_without_a_configuration_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(*REPORT, "--model_name_or_path", str(tmp_path), capsys=capsys)
    assert (code, out) == (2, "")
    assert "no config.json in it" in err


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A10G", "a10g"),
        ("A10G", "a10g"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100-PCIE-40GB", "a100-40"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("Tesla T4", "t4"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ],
)
def test_a_drivers_name_means_a_card(name: str, card: str) -> None:
    assert of_device(name) is CARDS[card]


def test_an_unknown_name_means_none() -> None:
    assert of_device("NVIDIA A10") is None
    assert of_device("NVIDIA L40S") is None


def test_what_the_docs_show_of_python_runs_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A second call once found a module in the function's place."""
    docs = (Path(__file__).parent.parent / "docs" / "estimate.md").read_text(encoding="utf-8")
    code = docs.split("```python\n")[1].split("```")[0]
    exec(code, {})
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["r=2", "r=8"] * 2


def test_a_sweeps_file_names_the_card_for_both_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--preset", "demo", "--rows", "100", "--length", "50"]
    file = tmp_path / "my.yaml"
    file.write_text("gpu: l4\nlora_r: [8]\n")
    code, out, _ = run(*small, "--config", str(file), "--format", "json", capsys=capsys)
    assert (code, json.loads(out)["gpu"]) == (0, "l4")
    code, out, _ = run(*small, "--config", str(file), "--gpu", "t4", "--format", "json", capsys=capsys)
    assert (code, json.loads(out)["gpu"]) == (0, "t4"), "a flag beats the file"
