"""What a killed process left in the temporary directory goes with the next start, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.trial import scratch

MAKE = "from sweep.trial import scratch; print(scratch.make())"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    return tmp_path


def made_by_one_that_is_gone() -> Path:
    done = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_folder_of_a_process_that_is_gone_is_removed_with_what_is_in_it(temporary: Path) -> None:
    gone, mine = made_by_one_that_is_gone(), scratch.make()
    others = temporary / "trial-by-jury"
    others.mkdir()
    assert scratch.remove_abandoned() == [gone]
    assert sorted(temporary.iterdir()) == sorted([mine, others])
    assert scratch.remove_abandoned() == []


def test_a_pid_that_was_given_away_again_is_not_the_owner(temporary: Path) -> None:
    mine = scratch.make()
    began = mine.name.split("-")[2]
    older = mine.rename(mine.with_name(mine.name.replace(began, "1", 1)))
    assert f"trial-{os.getpid()}-1-" in older.name
    assert scratch.remove_abandoned() == [older]


def test_a_process_that_cannot_be_seen_from_here_keeps_its_folder_until_the_machine_starts_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = made_by_one_that_is_gone()
    monkeypatch.setattr(scratch, "pid_namespace", lambda: "another container")
    assert scratch.remove_abandoned() == []
    monkeypatch.setattr(scratch, "boot_time", lambda: gone.stat().st_mtime + 1)
    assert scratch.remove_abandoned() == [gone]


def test_a_process_that_is_to_be_alone_changes_nothing_for_those_that_it_starts(temporary: Path) -> None:
    work = "import os, tempfile; from sweep.trial import scratch; before = dict(os.environ); print(scratch.settle(alone=True))"
    command = [sys.executable, "-c", f"{work}; assert dict(os.environ) == before; print(tempfile.mkdtemp())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    folder, made = map(Path, done.stdout.split())
    assert made.parent == folder and folder.parent == temporary


def test_what_libraries_put_into_the_temporary_directory_goes_with_its_process(temporary: Path) -> None:
    """As wandb does when it is imported; and torch keeps what it has compiled for all processes."""
    work = (
        "import os, tempfile; from sweep.trial import scratch; scratch.settle(); tempfile.mkdtemp(); tempfile.mkstemp()"
    )
    command = [sys.executable, "-c", f"{work}; print(os.environ['TORCHINDUCTOR_CACHE_DIR'], flush=True); os._exit(1)"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert Path(done.stdout.strip()).parent == temporary
    (folder,) = temporary.iterdir()
    assert len(list(folder.iterdir())) == 2
    assert scratch.remove_abandoned() == [folder] and not list(temporary.iterdir())
