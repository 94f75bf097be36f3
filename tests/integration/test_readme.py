"""What the README shows works as it stands there."""

import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.gallery import record
from benchmarks.gallery.bits import bits_of_trials
from benchmarks.machine import machine
from sweep import analysis
from sweep.store.store import Store
from tests import toys
from tests.integration.test_sweep import assert_whole

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """Every shell line of the README's first sections, in order; set-up is what made this environment."""
    text = README.read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, flags=re.S) for line in block.splitlines()]
    return [line.split(" && ")[-1] for line in lines if line.strip() and "pytest" not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environment: Path) -> Path:
    """Where a user stands: an environment with the wheel, beside a model and rows of their own, and no checkout."""
    folder = tmp_path_factory.mktemp("user")
    (folder / ".venv").symlink_to(environment)
    toys.model(folder / "my-model", "gpt2")
    rows = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(40)]
    (folder / "my-rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_every_command_runs(folder: Path) -> None:
    for command in commands():
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip(), command
        assert "Traceback" not in done.stderr


def test_the_way_to_ask_of_ones_own_data_is_a_race_of_tuned_rates() -> None:
    """Which rank is right depends on the rate: the second command, the first on a user's own data, finds it."""
    demo, own, *_ = commands()
    assert "sweep.grid" in demo and "--dataset_name" in own and "--tune learning_rate --race" in own


def test_the_python_runs(folder: Path) -> None:
    """An adapter names its base model as the user did; the preset's name is one of the checkout."""
    (folder / "trainables").mkdir()
    (folder / "trainables" / "demo").symlink_to(README.parent / "trainables" / "demo")
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    command = [folder / ".venv" / "bin" / "python", "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'lora_r': 32" in done.stdout and done.stdout.endswith(" 32\n")


def test_the_demo_leaves_every_row_and_ranks_differ_by_more_than_seeds(folder: Path) -> None:
    rows = assert_whole(Store(str(folder / "results" / "demo")), trials=9, steps=60, held_out=200)
    losses: dict[int, list[float]] = {}
    for row in rows:
        losses.setdefault(row["lora_r"], []).append(row["eval_loss"])
    means = [sum(values) / len(values) for _, values in sorted(losses.items())]
    assert means == sorted(means, reverse=True)
    assert min(a - b for a, b in itertools.pairwise(means)) > max(max(v) - min(v) for v in losses.values())
    steps = Store(str(folder / "results" / "demo")).steps().to_pandas().groupby("step").loss.mean()
    assert steps.iloc[-10:].mean() < steps.iloc[:10].mean() - 0.1


def test_the_readme_shows_what_the_demo_answers(folder: Path) -> None:
    """The pick and the held-out losses that are printed there are those of the demo, to the digits that machines agree on."""
    shown = re.search(r"<!-- demo -->(.*?)<!-- /demo -->", README.read_text(), flags=re.S)
    assert shown is not None
    for row in Store(str(folder / "results" / "demo")).trials().to_pylist():
        assert f"r={row['lora_r']}" in shown.group(1)
    printed = [float(number) for number in re.findall(r"r=\d+ +\d+ +(\d\.\d{4}) ±", shown.group(1))]
    frame = Store(str(folder / "results" / "demo")).trials().to_pandas()
    assert printed == pytest.approx(frame.groupby("lora_r").eval_loss.mean().tolist(), abs=0.01)


def test_the_demo_has_the_gallerys_losses(folder: Path) -> None:
    """To the last bit where the gallery was measured. Elsewhere libraries choose other code, and the last digits differ."""
    recorded = record.read()["demo"]
    found = bits_of_trials(analysis.load(str(folder / "results" / "demo")))
    assert found.keys() == recorded["trials"].keys()
    for name, one in recorded["trials"].items():
        assert found[name]["eval_loss"] == pytest.approx(one["eval_loss"], abs=0.01)
    if machine() == recorded["machine"]:
        assert found == recorded["trials"]
