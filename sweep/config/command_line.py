"""Splits a command line into settings, and prints `--help`."""

import argparse
from collections.abc import Sequence
from typing import Any

from sweep.common import program, reading
from sweep.config.coercion import describe
from sweep.config.flags import Flag
from sweep.config.sweep_config import FLAGS
from sweep.errors import Complaint, ConfigError, Problem

REPEATED = frozenset({"eval_dataset_name"})  # the trainer's settings that may be repeated, each time with more values


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """A command line as raw values by key: a string, a list of strings, or True for a flag without a value.

    `--grid` and what is in REPEATED collect their values; for any other flag given twice the last one counts, as in
    argparse.

    Raises:
        ConfigError: there is a word before the first flag.
    """
    raw: dict[str, list[str]] = {}
    stray = []
    key = None
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            key = name.replace("-", "_")
            gathers = key in REPEATED or (key in FLAGS and FLAGS[key].gathers)
            start = raw.get(key, []) if gathers else []
            raw[key] = [*start, value] if equals else list(start)
        elif key is None:
            stray.append(word)
        else:
            raw[key].append(word)
    if stray:
        raise ConfigError([f"unrecognized arguments: {' '.join(stray)!r}. Flags begin with --, as in --lora_r 8 32."])
    return {key: _unwrap(FLAGS.get(key), words) for key, words in raw.items()}


def _unwrap(flag: Flag | None, words: list[str]) -> Any:
    if flag is not None and (flag.many or flag.gathers):
        return words
    if not words:
        return True
    return words[0] if len(words) == 1 else words


def axes(words: Sequence[str], problems: list[Problem]) -> dict[str, list[Any]]:
    """Parses `KEY=V1,V2` words as axes; a value that begins with [ is read as a YAML list, for settings that are lists."""
    found: dict[str, list[Any]] = {}
    if not words:
        problems.append(
            Complaint("grid", ": the axis is missing. Give KEY=V1,V2, as in --grid learning_rate=1e-4,2e-4.", "flag")
        )
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            problems.append(
                Complaint(f"grid {word}", ": expected KEY=V1,V2, as in --grid learning_rate=1e-4,2e-4.", "flag")
            )
        elif key in found:
            text = f": the axis is named twice. Give all its values at once: --grid {key}=V1,V2."
            problems.append(Complaint(f"grid {key}", text, "flag"))
        else:
            found[key] = _values(text)
    return found


def _values(text: str) -> list[Any]:
    if text.startswith("["):
        try:
            return list(reading.parse(text))
        except (ValueError, TypeError):
            pass
    return [value.strip() for value in text.split(",") if value.strip()]


def help_asked(argv: Sequence[str]) -> str:
    """What `--help`, `--help_all` or `--version` prints, if one of them is given; otherwise "".

    Raises:
        ConfigError: the trainable that is given with `--help_all` does not exist.
    """
    if "--help" in argv or "-h" in argv:
        return help_text()
    if "--version" in argv:
        return program.version()
    return help_text() + help_of_settings(argv) if "--help_all" in argv else ""


def help_text() -> str:
    """Help for the sweep's own settings."""
    parser = program.Parser(
        "grid",
        description="Compares LoRA ranks by fine-tuning: one trial per rank, seed and value of other axes, then an answer.",
        epilog="Every trainer setting of TRL is a flag too (--learning_rate 1e-4, --max_steps 100, …): see --help_all.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--help_all", action="store_true", help="show the trainer's settings as well")
    for flag in FLAGS.values():
        default = "" if flag.default in (None, {}, (), False) else f" (default: {default_text(flag.default)})"
        if flag.hint is bool:
            parser.add_argument(f"--{flag.name}", action="store_true", help=flag.help)
        else:
            nargs = "+" if flag.many else None
            parser.add_argument(f"--{flag.name}", metavar=flag.metavar, nargs=nargs, help=flag.help + default)
    return parser.format_help()


def help_of_settings(argv: Sequence[str]) -> str:
    """Help for the settings that the command line's trainable declares.

    Raises:
        ConfigError: there is no such trainable.
    """
    from sweep.config.fields import settings_of  # pyarrow
    from sweep.contract.loading import load_trainable

    given = parse([word for word in argv if word != "--help_all"])
    name = str(given.get("trainable", FLAGS["trainable"].default))
    kind = load_trainable(name)
    lines = ["", f"settings of a trial ({name}):"]
    if kind.FORMS:
        forms = "; ".join(", ".join(columns) for columns in kind.FORMS.values())
        lines.append(f"  its rows have the columns {forms}")
    for field in settings_of(kind).values():
        lines.append(f"  --{field.name}  ({describe(field.hint)}) {' '.join(str(field.help).split())}")
    return "\n".join(lines)


def default_text(value: Any) -> str:
    """A default as `--help` shows it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
