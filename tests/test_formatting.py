import ast
import re
from pathlib import Path

import pytest

from sweep.common import formatting
from sweep.common.cache import atomic_file, cache_folder
from sweep.common.formatting import (
    clock,
    duration,
    headline,
    number,
    percent,
    reason,
    sentence,
    share,
    size,
    with_class,
    with_spread,
)

CODE = [path for room in ("sweep", "trainables") for path in Path(room).rglob("*.py")]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "2 kB"),
        (60_000, "60 kB"),
        (999_960, "1.0 MB"),  # and not 1000.0 kB
        (3.1e9, "3.10 GB"),
        (999_996_000_000, "1.00 TB"),
        (7e15, "7000.00 TB"),
    ],
)
def test_bytes_are_in_the_largest_unit_that_leaves_a_digit_before_the_point(count: float, text: str) -> None:
    assert size(count) == text


def test_durations_and_clocks() -> None:
    assert [duration(one) for one in (13.42, 90, 5400)] == ["13.4 s", "1.5 min", "1.50 h"]
    assert [clock(one) for one in (5, 125, 3725)] == ["0:05", "2:05", "1:02:05"]


def test_numbers_follow_their_unit() -> None:
    values = {"nats/token": 1.23456, "s": 59.0, "1/s": 2.5, "bytes": 1e9}
    texts = [number(value, unit) for unit, value in values.items()]
    assert texts == ["1.2346", "59.0 s", "2.500", "1.00 GB"]
    assert number(65536, whole=True) == "65,536"
    assert number(None, "bytes") == with_spread(None, 0.1) == "–"
    assert with_spread(2.87484, 0.00431) == "2.8748 ± 0.0043" and with_spread(2.0, None) == "2.0000"


def test_shares_have_a_sign_and_as_many_digits_as_are_of_use() -> None:
    assert [share(one) for one in (0.005, 0.95, 0.00025)] == ["0.5 %", "95 %", "0.025 %"]
    assert [percent(one) for one in (0.00015, -0.0067, 0.34, 0)] == ["+0.015 %", "−0.67 %", "+34 %", "+0.00 %"]


def test_an_error_is_one_line_without_its_number_path_and_full_stop() -> None:
    error = OSError(28, "No space left on device", "/secret/place")
    assert reason(error) == "No space left on device"
    assert reason(ValueError("it is\n  negative.")) == "it is negative"
    assert reason(ValueError()) == with_class(ValueError()) == "ValueError"
    assert with_class(ValueError("it is\nnegative")) == "ValueError: it is negative"
    assert sentence(ValueError()) == "ValueError." and sentence("too long", 5) == "too …."
    assert headline(ValueError("no such file.\nTry this:\n...")) == "no such file"


def test_no_other_place_formats_bytes() -> None:
    """Numbers before a unit in an f-string: what `size` is for."""
    found = {}
    for path in CODE:
        if path.name != Path(formatting.__file__).name:
            tree = ast.parse(path.read_text())
            texts = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
            found[str(path)] = [text for text in texts if re.search(r"\} ?[kMGT]i?B\b", text)]
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_there_is_one_cache_folder() -> None:
    naming = [path for path in CODE if 'XDG_CACHE_HOME")' in path.read_text()]
    assert naming == [Path("sweep/common/cache.py")]


def test_the_cache_is_below_its_variable_or_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("tokens") == tmp_path / "lora-rank-sweep" / "tokens"
    monkeypatch.setenv("HOME", "/home/somebody")
    for unset in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder("tokens") == Path("/home/somebody/.cache/lora-rank-sweep/tokens")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # a user without a home
    assert cache_folder("tokens") is None


def test_a_file_is_complete_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with pytest.raises(RuntimeError), atomic_file(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_file(path) as aside:
        aside.write_text("whole")
    assert [one.read_text() for one in path.parent.iterdir()] == ["whole"]
