"""What a user may get wrong: exit code 2, one message that says what, what was got and how to fix it; nothing written.

The table is in tests/bad/.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweep import grid
from sweep.config import machine
from tests import toys
from tests.bad.files import DATA, MODELS
from tests.bad.kinds import ROWS, Bad, Place
from tests.bad.places import ASKED, ENVIRONMENT, PLACES, SETTINGS, SWEEPS, TABLES
from tests.bad.settings import FLAGS, YAML

TABLE = [*FLAGS, *YAML, *DATA, *MODELS, *SWEEPS, *ASKED, *TABLES, *PLACES, *ENVIRONMENT]

# What no user wrote: values and classes of Python's, numbers of errors, a full stop after another, a secret.
FOREIGN = re.compile(
    r"\bNone|NoneType|\bTrue\b|\bFalse\b|SFTConfig|ModelConfig|<class|Errno|(?<![.'])\.\.(?![.1'])|canary-password|object at 0x"
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("good")
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return toys.model(folder / "model"), folder / "rows.json"


@pytest.fixture
def place(good: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The user's folder; the Hub is out of reach, no GPU is there, and tokens are kept elsewhere."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(machine, "cuda_devices", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Place(folder, *good)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def code_of(bad: Bad, words: Sequence[str]) -> int:
    try:
        return bad.main(words)
    except SystemExit as end:  # argparse's way
        assert isinstance(end.code, int)
        return end.code


def test_the_table_is_long_and_no_row_stands_twice() -> None:
    assert len(TABLE) >= 60
    assert len({bad.name for bad in TABLE}) == len(TABLE)


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name[:60])
def test_a_bad_input(
    bad: Bad, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.get(bad.name, {}).items():
        monkeypatch.setenv(name, value)
    words = bad.words(place)
    before = content(place.folder)
    code = code_of(bad, words)
    out, err = capsys.readouterr()
    assert code == 2
    assert bad.said in err
    assert not out
    assert "Traceback" not in err
    assert not (found := FOREIGN.search(err)), found
    assert err.count("\n  - ") <= 3, "one mistake, one message"
    assert content(place.folder) == before


def test_everything_is_said_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    file = place.file("other.json", json.dumps([{"a": "b"}]))
    words = [
        "--lora_r",
        "0",
        "8",
        "--max_steps",
        "x",
        "--model_name_or_path",
        str(place.folder),
        "--dataset_name",
        file,
    ]
    assert grid.main(place.good(words)) == 2
    said = capsys.readouterr().err
    for part in ("4 problems", "--lora_r", "--max_steps", "no model folder", "'a'"):
        assert part in said, part


def test_a_trainable_that_cannot_be_imported_hides_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trainable", "nope:X", "--max_steps", "x", "--lora_dropout", "1", "--address", "nope"]
    assert grid.main(place.good(words)) == 2
    said = capsys.readouterr().err
    for part in ("4 problems", "--trainable 'nope:X'", "--max_steps", "--lora_dropout", "--address"):
        assert part in said, part


def test_without_a_model_that_alone_is_said(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda name, **_: asked.append(name))
    assert grid.main(["--dataset_name", str(place.rows), "--no_bf16", "--storage_path", "store"]) == 2
    said = capsys.readouterr().err
    assert "1 problem" in said and "--model_name_or_path is missing" in said
    assert not asked


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_needs_no_heavy_import(flag: str) -> None:
    import subprocess
    import sys

    code = f"import sys; from sweep.grid import main; main(['{flag}']); print('torch' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--lora_r" in done.stdout and done.stdout.endswith("False False\n")
