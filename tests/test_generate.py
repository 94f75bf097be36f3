"""The reference pages are what the code declares, now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from docs import generate
from sweep.__main__ import COMMANDS
from sweep.common.program import Parser
from sweep.config.flags import Range, declared, flag
from sweep.config.sweep_config import FLAGS


@pytest.mark.parametrize("name", generate.pages())
def test_a_page_is_what_the_code_declares(name: str) -> None:
    page = generate.FOLDER / name
    assert page.read_text(encoding="utf-8") == generate.pages()[name], "run: python -m docs.generate"


def test_every_command_and_flag_has_its_place() -> None:
    page = generate.flags()
    assert all(f"## `{name}`" in page for name in COMMANDS)
    assert all(f"| `--{name}" in page for name in FLAGS)
    assert "| `--test_split_size` |" in page and "| `output_dir` | the sweep's folder is set by" in page
    assert "| `--push_to_hub REPO` |" in page.partition("## `export`")[2]


@dataclass(frozen=True)
class Settings:
    many: tuple[int | Literal["full"], ...] = flag("some", (8, 32), "RANK", within=Range(least=1), example="8")
    word: Literal["a", "b"] = flag("a | b", "a", "WORD")
    switch: bool = flag("a switch", False, "")
    text: str | None = flag("a text", None, "NAME")


def test_a_flag_says_what_it_takes() -> None:
    rows = [generate._of_sweep(one) for one in declared(Settings).values()]
    assert rows == [
        ["`--many RANK …`", "a whole number (at least 1) or `full`", "`8 32`", "some"],
        ["`--word WORD`", "`a` or `b`", "`a`", "a | b"],
        ["`--switch`", "", "", "a switch"],
        ["`--text NAME`", "", "", "a text"],
    ]
    assert generate.table("flag|meaning", [["`--word`", "a | b"]]).endswith("| `--word` | a \\| b |")


def test_a_command_knows_its_arguments() -> None:
    parser = Parser("toy", description="A toy.")
    parser.add_argument("sweep", nargs="*", help="folders")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    assert parser.arguments[0].option_strings == ["-h", "--help"]
    rows = [generate._of_argument(one) for one in parser.arguments]
    assert rows[-2:] == [["`SWEEP …`", "", "folders"], ["`--format`", "`table` or `json`", "(default: table)"]]


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        name: what it is called
    """

    name: str


@dataclass(frozen=True)
class Whole:
    """A whole.

    Attributes:
        parts: of which it is made,
            whatever they are
        kinds: by name
    """

    parts: tuple[Part, ...]
    kinds: Mapping[str, Literal["a", "b"] | None]


@dataclass(frozen=True)
class Undocumented:
    """Nothing is said of its field."""

    name: str


@dataclass(frozen=True)
class Outdated:
    """More is said than there is.

    Attributes:
        name: there
        gone: not there
    """

    name: str


def test_a_name_of_the_answer_has_its_type_and_its_meaning() -> None:
    assert generate._reachable(Whole) == [Whole, Part]
    assert [*generate._rows(Whole)] == [
        ["`parts`", "array of [Part](#part)", "of which it is made, whatever they are"],
        ["`kinds`", "object of `a`, `b` or null", "by name"],
    ]


@pytest.mark.parametrize(("kind", "error"), [(Undocumented, KeyError), (Outdated, ValueError)])
def test_a_name_without_a_meaning_and_a_meaning_without_a_name_are_found(
    kind: type[Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(generate._rows(kind))
