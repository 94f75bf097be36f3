"""A row of the gallery, run twice: the same bits."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.gallery import __main__ as gallery
from benchmarks.gallery import record, run
from benchmarks.gallery.rows import Row
from sweep import grid

TINY = Row("tiny", ("--lora_r", "2", "--seeds", "0", "1", "--max_steps", "2"), "Is it the same again?", "It is.")


@pytest.mark.usefixtures("ray_here")
def test_a_row_that_is_run_again_has_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "ROWS", (TINY,))
    monkeypatch.setattr(record, "ROWS", (TINY,))
    monkeypatch.setattr(record, "RECORD", tmp_path / "gallery.json")
    monkeypatch.setattr(record, "PAGE", tmp_path / "gallery.md")
    monkeypatch.setattr(run, "command", grid.main)  # in this process, whose Ray has begun
    assert gallery.main(["tiny", "--folder", str(tmp_path / "one")]) == 0
    found = record.read()["tiny"]
    assert found["minutes"] is not None and len(found["trials"]) == 2
    assert "python -m sweep.grid --preset demo --lora_r 2" in (tmp_path / "gallery.md").read_text()

    assert gallery.main(["tiny", "--folder", str(tmp_path / "two"), "--check"]) == 0
    one, other = sorted(found["trials"])
    assert found["trials"][one]["steps"] != found["trials"][other]["steps"], "the seeds differ"
    found["trials"][one]["eval_loss"] = math.nextafter(found["trials"][one]["eval_loss"], 0)
    (tmp_path / "gallery.json").write_text(json.dumps({"tiny": found}))
    capsys.readouterr()
    assert gallery.main(["tiny", "--folder", str(tmp_path / "two"), "--check"]) == 1
    assert f'"{one} eval_loss: ' in capsys.readouterr().out


def test_a_row_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        gallery.main(["dmeo"])
    assert left.value.code == 2
    assert "no such row: dmeo. There are demo, " in capsys.readouterr().err
