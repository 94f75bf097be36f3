"""Both packages are in rooms that import downward only. The order is CONTRIBUTING's: it stands there and nowhere else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import rooms

PROJECT = Path(__file__).parents[1]
PACKAGES = ("sweep", "trainables")
# The modules that may load Ray or torch as they are imported: the driver's half of a run, and what opens Tune's own files.
HEAVY = re.compile(r"sweep\.(run(\..*)?|store\.result_grid|trial\.tune_trial)")


@pytest.fixture(scope="module")
def imports() -> rooms.Graph:
    return rooms.graph(PROJECT, PACKAGES)


def order() -> list[list[str]]:
    (block,) = re.findall(r"<!-- rooms -->\n```text\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    return rooms.order(block)


def test_rooms_import_downward(imports: rooms.Graph) -> None:
    assert rooms.upward(imports, order()) == []


def test_every_room_of_the_order_is_there() -> None:
    assert [room for line in order() for room in line if not [*PROJECT.glob(room)]] == []


def test_no_modules_import_each_other(imports: rooms.Graph) -> None:
    assert rooms.circles(imports) == []


def test_a_room_has_a_dozen_files_at_most() -> None:
    assert rooms.overfull(PROJECT, PACKAGES) == []


def test_sweep_knows_trainables_by_name_alone(imports: rooms.Graph) -> None:
    sweeps = {module: others for module, others in imports.items() if module.startswith("sweep")}
    assert [module for module, others in sweeps.items() if any(one.startswith("trainables") for one in others)] == []


def test_importing_sweep_loads_neither_torch_nor_ray(imports: rooms.Graph) -> None:
    light = [one for one in sorted(imports) if one.startswith("sweep") and not HEAVY.fullmatch(one)]
    script = (
        "import importlib, sys\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'ray', 'transformers', 'trl'} & sys.modules.keys()\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr


TOY_ORDER = "app/*.py  # commands\napp/left app/right\napp/base\napp/leaf.py"
TOY = {
    "app/__init__.py": "",
    "app/main.py": "from app import other\nfrom app.left import a",
    "app/other.py": "import app.right.b",
    "app/left/a.py": "import json\nfrom app.base.c import leaf",
    "app/right/b.py": "def f():\n    from app.base import c",
    "app/base/c.py": "from app import leaf",
    "app/leaf.py": "",
}


def wrong(folder: Path, **changed: str) -> list[str]:
    """What is found in the toy package, with some files written otherwise: `left_a` is app/left/a.py."""
    new = {f"app/{name.replace('_', '/')}.py": text for name, text in changed.items()}
    for name, text in {**TOY, **new}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    imports = rooms.graph(folder, ("app",))
    return [
        *rooms.upward(imports, rooms.order(TOY_ORDER)),
        *map(str, rooms.circles(imports)),
        *rooms.overfull(folder, ("app",)),
    ]


def test_the_toy_is_in_order(tmp_path: Path) -> None:
    assert wrong(tmp_path) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"base_c": "from app.left.a import x"}, ["app.base.c imports app.left.a", "['app.base.c', 'app.left.a']"]),
        ({"base_c": "def f():\n    import app.main"}, ["app.base.c imports app.main"]),
        ({"left_a": "from app.right import b"}, ["app.left.a imports app.right.b"]),
        ({"leaf": "from app import main"}, ["app.leaf imports app.main"]),
        ({"other": "from app import main"}, ["['app.main', 'app.other']"]),
        ({"attic_d": ""}, ["app.attic.d stands in no line"]),
        ({f"base_d{number}": "" for number in range(12)}, ["app/base: 13 files"]),
    ],
    ids=[
        "upward",
        "upward in a function",
        "sideways",
        "from a file",
        "a circle within a room",
        "a room of no line",
        "a full room",
    ],
)
def test_what_goes_against_the_order_is_found(changed: dict[str, str], found: list[str], tmp_path: Path) -> None:
    assert [text for text in wrong(tmp_path, **changed) if text in found] == found
