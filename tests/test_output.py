"""What a trial prints, logs or warns goes to its log."""

import logging
from pathlib import Path

from sweep.trial.output import Output


def test_a_library_whose_stream_is_closed_logs_to_the_trials_log_all_the_same(tmp_path: Path) -> None:
    closed = (tmp_path / "before").open("w")
    handler, logger = logging.StreamHandler(closed), logging.getLogger("transformers")
    closed.close()
    logger.addHandler(handler)
    try:
        with Output(tmp_path / "log", echo=False):
            logger.warning("look here")
    finally:
        logger.removeHandler(handler)
    assert "look here" in (tmp_path / "log").read_text()
