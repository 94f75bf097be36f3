import logging
import os
import re
from pathlib import Path

import pytest

from sweep.common.quiet import notice, notices, quiet, quiet_tune, set_quiet_environment
from sweep.grid import main


def test_tune_is_quiet_for_the_block_alone(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("ray.tune")
    before = log.level
    with pytest.raises(RuntimeError), quiet_tune():
        print("banner")
        assert log.level == logging.CRITICAL
        raise RuntimeError
    print("ours")
    assert capsys.readouterr().out == "ours\n" and log.level == before


def test_hugging_face_is_quiet_for_the_block_alone() -> None:
    import datasets

    log = logging.getLogger("transformers")
    before, bars = log.level, datasets.are_progress_bars_disabled()
    with quiet():
        assert log.level == logging.ERROR and datasets.are_progress_bars_disabled()
    assert (log.level, datasets.are_progress_bars_disabled()) == (before, bars)


@pytest.mark.parametrize(("words", "silent"), [([], "true"), (["--verbose", "true"], None)])
def test_the_command_is_quiet_unless_it_is_told_otherwise(
    words: list[str], silent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "TRANSFORMERS_VERBOSITY": "debug"})  # as somebody chose
    os.environ.pop("WANDB_SILENT", None)
    assert main(["--lora_r", "none", *words]) == 2  # refused, and nothing was started
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "debug" and os.environ.get("WANDB_SILENT") == silent


def test_notices_are_left_out_for_the_block_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), notices(False):
        notice("unheard")
        with notices(True):
            notice("heard")
        notice("unheard again")
        raise RuntimeError
    notice("after")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "heard\nafter\n")


def test_nothing_else_turns_logging_down() -> None:
    code = [path for room in ("sweep", "trainables") for path in Path(room).rglob("*.py")]
    turning = re.compile(r"\.setLevel\(|_VERBOSITY\"|disable_progress_bars?\(")
    assert [path for path in code if turning.search(path.read_text())] == [Path("sweep/common/quiet.py")]


def test_quietening_keeps_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"HF_HUB_VERBOSITY": "info"})
    set_quiet_environment()
    assert os.environ["HF_HUB_VERBOSITY"] == "info" and os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
