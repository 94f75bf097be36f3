"""Writes the reference pages, from what the code declares: docs/flags.md, docs/columns.md, docs/answer-reference.md.

python -m docs.generate
"""

import argparse
import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sweep.__main__ import COMMANDS
from sweep.answer.answer import Answer
from sweep.common.formatting import listed
from sweep.common.program import Parser
from sweep.config import fields
from sweep.config.coercion import Field, describe
from sweep.config.command_line import default_text
from sweep.config.flags import Flag
from sweep.config.sweep_config import FLAGS
from sweep.store import columns

FOLDER = Path(__file__).parent
MADE = "Made by `python -m docs.generate`."


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {"flags.md": flags(), "columns.md": columns.markdown(), "answer-reference.md": answer()}


def main() -> None:
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def table(headings: str, rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; `headings` are separated by |."""
    names = headings.split("|")
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(words: Iterable[str]) -> list[str]:
    return [f"`{word}`" for word in words]


# --- flags -----------------------------------------------------------------------------------------------------------


def flags() -> str:
    """docs/flags.md."""
    parts = [
        f"# Flags\n\n{MADE} `lora-sweep NAME` is `python -m sweep.NAME`; every command has `--help`.",
        "## `grid`",
        f"It {COMMANDS['grid']}.",
        "Each flag is a key of `--config`'s YAML file, too. A flag overrides the file, which overrides the preset. `none` unsets a "
        "value;\n`--no_NAME` is `--NAME false`. `--dry_run` prints where each value came from.",
        table("flag|takes|default|meaning", (_of_sweep(flag) for flag in FLAGS.values())),
        "### A trial's settings",
        "Every field of TRL's [`SFTConfig`](https://huggingface.co/docs/trl/sft_trainer#trl.SFTConfig), `ModelConfig`, "
        "`ScriptArguments`\nand `DatasetMixtureConfig` is a flag under its own name: `--help_all` lists them. These are added:",
        table("flag|takes|meaning", map(_of_trial, fields.declared(("sweep.contract.data:DataArguments",)).values())),
        "These a sweep sets itself. What becomes of them in a file for `trl sft`: [trl.md](trl.md).",
        table("setting|instead", ((f"`{name}`", instead) for name, instead in fields.RESERVED.items())),
    ]
    for name in COMMANDS:
        if name != "grid":
            parts += [f"## `{name}`", *_of_command(name)]
    return "\n\n".join(parts) + "\n"


def _of_sweep(flag: Flag) -> list[str]:
    metavar = f" {flag.metavar}" if flag.metavar else ""
    many = " …" if flag.many or flag.gathers else ""
    default = f"`{default_text(flag.default)}`" if flag.default not in (None, {}, (), False) else ""
    return [f"`--{flag.name}{metavar}{many}`", _takes(flag), default, flag.help]


def _takes(flag: Flag) -> str:
    """Type and range of a flag's value, or of each of its values; empty where its name says all of it."""
    if flag.choices and not flag.many:
        return listed(code(flag.choices), "or")
    if flag.hint is bool or flag.gathers or str in (flag.element, *typing.get_args(flag.element)):
        return ""
    bounds = f" ({flag.within})" if str(flag.within) else ""
    return listed([f"{describe(flag.element)}{bounds}", *code(flag.choices)], "or")


def _of_trial(field: Field) -> list[str]:
    return [f"`--{field.name}`", describe(field.hint), " ".join(str(field.help).split())]


def _of_command(name: str) -> Iterator[str]:
    parser = importlib.import_module("sweep.estimate.__main__" if name == "estimate" else f"sweep.{name}").parser()
    assert isinstance(parser, Parser)
    yield str(parser.description)
    yield table("argument|takes|meaning", (_of_argument(one) for one in parser.arguments if one.dest != "help"))
    if parser.epilog:
        yield str(parser.epilog)


def _of_argument(one: argparse.Action) -> list[str]:
    """A command's own argument. `help` says its default, as `--help` prints it."""
    metavar = "" if one.nargs == 0 or one.choices else f" {one.metavar or one.dest.upper()}"
    names = [f"{name}{metavar}" for name in one.option_strings] or [one.dest.upper()]
    many = " …" if one.nargs in ("+", "*") else ""
    default = f" (default: {one.default})" if one.choices and one.default and "(default" not in (one.help or "") else ""
    return [
        ", ".join(code(f"{name}{many}" for name in names)),
        listed(code(one.choices), "or") if one.choices else "",
        f"{one.help or ''}{default}".strip(),
    ]


# --- the answer ------------------------------------------------------------------------------------------------------


def answer() -> str:
    """docs/answer-reference.md."""
    parts = [
        f"# The answer's names\n\n{MADE} They are those of `python -m sweep.analysis … --format json`, and of the frozen data that\n"
        "`sweep.analysis.answer(sweep)` returns. [answer.md](answer.md) says how the values come about.",
        'They are stable: later versions add some, and change or drop none without a note in the changelog. Null means "not measured"\n'
        'or "cannot be said". Shares are fractions: 0.005 is half a percent.',
    ]
    for kind in _reachable(Answer):
        parts += [
            f"## {kind.__name__}",
            (kind.__doc__ or "").partition("\n")[0],
            table("name|type|meaning", _rows(kind)),
        ]
        if kind.__name__ == "Configuration":
            parts += ["### Metrics", _ABOUT_METRICS, table("name|unit|better|meaning", _metrics())]
    return "\n\n".join(parts) + "\n"


_ABOUT_METRICS = (
    "Of each configuration, null where nobody measured it: means over its completed trials, or the largest of them. In JSON they stand\n"
    "beside its other names, in Python in `results`."
)


def _metrics() -> Iterator[list[str]]:
    for name, column in columns.METRICS.items():
        how = column.shown_as
        better = {"min": "lower", "max": "higher", None: "neither"}[how.better]
        names = [f"`{name}`", *([f"`{name}_sd`"] if how.spread else [])]
        largest = "; the largest of its trials'" if how.over_seeds == "largest" else ""
        yield [", ".join(names), column.unit, better, f"{column.meaning}{largest}"]


def _reachable(kind: type) -> list[type]:
    """A dataclass and those that its fields hold, each once, in the order of the fields."""
    found = [kind]
    for hint in typing.get_type_hints(kind).values():
        for inner in _dataclasses_in(hint):
            found += [one for one in _reachable(inner) if one not in found]
    return found


def _dataclasses_in(hint: Any) -> list[type]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [one for part in typing.get_args(hint) for one in _dataclasses_in(part)]


def _rows(kind: type) -> Iterator[list[str]]:
    """A line for each field, with its meaning from the class's docstring."""
    meanings, hints = attributes(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        link = "[its metrics](#metrics)" if field.name == "results" else f"`{field.name}`"
        yield [link, in_words(hints[field.name]), meanings.pop(field.name)]
    if meanings:
        raise ValueError(f"{kind.__name__} has no {', '.join(meanings)}")


def attributes(kind: type) -> dict[str, str]:
    """What the section `Attributes:` of a class's docstring says, by name."""
    section = (kind.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Any: "any"}


def in_words(hint: Any) -> str:
    """A type in JSON Schema's words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, Literal):
        return listed([*_alternatives(hint)], "or")
    if origin is tuple:
        return f"array of {in_words(parts[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"object of {in_words(parts[1])}"
    return _PLAIN.get(hint) or f"[{hint.__name__}](#{hint.__name__.lower()})"


def _alternatives(hint: Any) -> Iterator[str]:
    """What a value may be: the words of a Literal, the types of a union."""
    for part in typing.get_args(hint):
        if typing.get_origin(hint) is Literal:
            yield f"`{part}`"
        elif typing.get_origin(part) is Literal:
            yield from _alternatives(part)
        else:
            yield in_words(part)


if __name__ == "__main__":
    main()
