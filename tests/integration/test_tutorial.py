"""The tutorial, followed literally in a fresh environment, and the examples on what it leaves: each command, each shown output."""

import json
import os
from pathlib import Path

import pytest

from sweep.store.store import Store
from tests import pages

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environment: Path) -> Path:
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / ".venv").symlink_to(environment)
    return folder


@pytest.fixture(scope="module")
def followed(folder: Path) -> list[tuple[pages.Step, str]]:
    steps = pages.steps((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    return [(step, pages.follow(step, folder)) for step in steps]


def example(name: str, folder: Path, *words: str, **environment: str) -> str:
    """Runs a script from docs/examples with the environment active; returns what it prints."""
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = {"MODEL": "trainables/demo/model", "ROWS": "classes.jsonl", "PATH": path, **environment}
    command = " ".join([f'"{EXAMPLES / name}"', *words])
    return pages.follow(pages.Step("bash", command, None), folder, **given)


def test_every_output_is_as_the_tutorial_shows_it(followed: list[tuple[pages.Step, str]]) -> None:
    assert sum(step.shown is not None for step, _ in followed) >= 7
    for step, printed in followed:
        assert step.shown is None or pages.matches(step.shown, printed), f"{step.text}\n{printed}"


@pytest.mark.usefixtures("followed")
def test_the_example_for_own_data_is_the_tutorials_sweep(folder: Path) -> None:
    """With the tutorial's settings and name it is the tutorial's sweep: nothing is left to train."""
    before = Store(f"{folder}/results/classes").trials().column("ended_at")
    same = ("--config classes.yaml", "--lora_r 2 8 32", "--learning_rate 8e-3")
    printed = example("own_data.sh", folder, *same, NAME="classes")
    assert Store(f"{folder}/results/classes").trials().column("ended_at") == before
    assert "Peak memory of a training step, predicted" in printed and "Take r=" in printed


@pytest.mark.usefixtures("followed")
def test_the_example_for_ranks_and_rates_finds_both(folder: Path) -> None:
    few = ("--config classes.yaml", "--lora_r 2 8", "--ladder 4e-3 1.6e-2", "--max_seeds 3", "--max_steps 10")
    printed = example("ranks_and_rates.sh", folder, *few)
    assert "with each rank at its best learning_rate" in printed
    assert "Replaying the trials' rows gives the same decisions." in printed
    decisions = Store(f"{folder}/results/ranks-and-rates").decisions().to_pylist()
    assert decisions[-1]["kind"] == "done"


@pytest.mark.usefixtures("followed")
def test_the_notebook_runs_from_top_to_bottom(folder: Path) -> None:
    cells = json.loads((EXAMPLES / "read_results.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    printed = pages.follow(pages.Step("python", "\n".join(code), None), folder)
    (best,) = [line for line in printed.splitlines() if "/checkpoints/" in line]
    assert "Take r=" in printed and (folder / best.split()[-1] / "adapter_config.json").exists()
