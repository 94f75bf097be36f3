"""What is installed is the whole of it, and works from anywhere: modules, types, presets, the page's template, the demo."""

import importlib.util
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import sweep.__main__ as console
from tests.installed import PACKAGES, PROJECT, run


def wanted() -> set[str]:
    files = [file for package in PACKAGES for file in (PROJECT / package).rglob("*.*") if file.is_file()]
    return {file.relative_to(PROJECT).as_posix() for file in files if "__pycache__" not in file.parts}


def test_the_wheel_has_every_file_of_the_packages(environment: Path) -> None:
    (wheel,) = environment.parent.glob("wheel/*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if name.startswith(PACKAGES)} == wanted()
    assert {f"{package}/py.typed" for package in PACKAGES} <= {*names}


def test_the_source_distribution_has_what_the_readme_and_the_install_need(environment: Path) -> None:
    (sdist,) = environment.parent.glob("sdist/*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    linked = set(re.findall(r"\]\(([\w/.-]+)\)", (PROJECT / "README.md").read_text()))
    assert linked | wanted() | {"constraints.txt", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "."))]


def test_every_extra_is_in_the_readme() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    readme = (PROJECT / "README.md").read_text()
    told = set(re.findall(r"^\| `(\w+)` \|", readme.partition("| extra |")[2].partition("\n\n")[0], re.MULTILINE))
    assert told == project["optional-dependencies"].keys() - {"test", "browser"}  # those are CONTRIBUTING's


def test_the_installed_command_plans_the_demo_in_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    where = run(
        environment, tmp_path, "python", "-c", "import sweep, trainables; print(sweep.__file__, trainables.__file__)"
    )
    assert where.stdout.count(str(environment)) == 2
    done = run(environment, tmp_path, "lora-sweep", "grid", "--preset", "demo", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "9 trials" in done.stdout
    assert [*tmp_path.iterdir()] == []


def test_the_installed_command_is_named_in_its_help(environment: Path, tmp_path: Path) -> None:
    for name in console.COMMANDS:
        if importlib.util.find_spec(f"sweep.{name}"):
            done = run(environment, tmp_path, "lora-sweep", name, "--help")
            assert done.returncode == 0 and done.stdout.startswith(f"usage: lora-sweep {name} "), done.stderr
            assert run(environment, tmp_path, "python", "-m", f"sweep.{name}", "--help").stdout.startswith(
                f"usage: python -m sweep.{name} "
            )


def test_a_users_mistake_exits_with_2_by_either_name(environment: Path, tmp_path: Path) -> None:
    for words, said in (
        (["grid", "--lora_r", "-1"], "--lora_r"),
        (["analysis", "nowhere"], "nowhere"),
        (["report"], "usage: lora-sweep report"),
        (["gird"], "invalid choice: 'gird'"),
        ([], "usage: lora-sweep COMMAND"),
    ):
        done = run(environment, tmp_path, "lora-sweep", *words)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_every_runnable_module_is_a_command() -> None:
    """`python -m sweep.NAME` and `lora-sweep NAME` are the same list."""
    files = [*(PROJECT / "sweep").glob("*.py"), *(PROJECT / "sweep").glob("*/__main__.py")]
    runs = {file for file in files if "\nif __name__ ==" in file.read_text(encoding="utf-8")}
    names = {file.parent.name if file.stem == "__main__" else file.stem for file in runs}
    assert names - {"sweep"} <= console.COMMANDS.keys()


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["grid", "--help"], ["grid", "--version"], ["analysis", "--help"]],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\nfrom sweep.__main__ import main\n"
        f"sys.argv = ['lora-sweep', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'ray', 'transformers', 'trl', 'pyarrow', 'pandas', 'rich'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
