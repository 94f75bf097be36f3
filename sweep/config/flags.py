"""The sweep's own settings, as flags and as keys of a YAML file, and how a command line is cut into them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweep.errors import ConfigError


@dataclass(frozen=True)
class Flag:
    """A setting of the sweep itself. `hint` is the type that fields.coerce reads a value as."""

    name: str
    hint: Any
    default: Any
    help: str
    metavar: str = "VALUE"


FLAGS = (
    Flag("lora_r", list[str], (8, 32, 128), "LoRA ranks to compare; `full` is full fine-tuning", "RANK"),
    Flag("seeds", list[str], (0,), "seeds of each configuration; three or more tell noise from effect", "SEED"),
    Flag("grid", dict[str, Any], {}, "a further axis: any trainer setting; may be repeated", "KEY=V1,V2"),
    Flag("lora_alpha_rule", str, "fixed", "fixed | proportional (lora_alpha/16 per rank) | rslora", "RULE"),
    Flag(
        "preset",
        str | None,
        None,
        "settings to start from: demo | opt-350m-codealpaca | opt-350m-codealpaca-fast",
        "NAME",
    ),
    Flag("config", str, None, "YAML file of the same keys as the flags", "FILE"),
    Flag("name", str | None, None, "name of the sweep; the same name again resumes it", "NAME"),
    Flag("storage_path", str, "results", "folder or URI (s3://…) that holds sweeps", "PATH"),
    Flag(
        "gpus_per_trial",
        float | None,
        None,
        "GPUs of a trial, fractions allowed; 0 trains on the CPU; default 1, or 0 on a machine without one",
        "N",
    ),
    Flag("cpus_per_trial", float, 1.0, "CPU cores of a trial, and its threads where it has no GPU", "N"),
    Flag("max_concurrent_trials", int | None, None, "trials at once; default: as many as fit", "N"),
    Flag(
        "storage_patience_s",
        float,
        120.0,
        "seconds that a trial waits, at its begin and end, for a store that refuses",
        "N",
    ),
    Flag(
        "on_oom", str, "record", "record | shrink: train once more with half the micro-batch, accumulated twice", "WHAT"
    ),
    Flag(
        "scheduler", str, "fifo", "fifo | asha: stops trials early that are worse than others at the same step", "NAME"
    ),
    Flag("asha_grace_period", int, 10, "steps that every trial gets", "N"),
    Flag("asha_reduction_factor", float, 3.0, "of so many trials one goes on to so many times as many steps", "N"),
    Flag("asha_brackets", int, 1, "groups of trials with longer and longer grace periods", "N"),
    Flag("asha_max_t", int | None, None, "step at which every trial ends; default: where it ends anyway", "N"),
    Flag("max_failures", int, 2, "times that a trial whose process died is started again", "N"),
    Flag(
        "address", str | None, None, "a running Ray cluster to use; default: RAY_ADDRESS, else this machine", "ADDRESS"
    ),
    Flag("trainable", str, "trainables.sft:SFT", "what runs a trial, as module:name", "IMPORT"),
    Flag("margin", float, 0.005, "held-out loss that may be given away for a cheaper rank, as a share", "SHARE"),
    Flag("dry_run", bool, False, "show the trials and where each setting came from; start nothing", ""),
    Flag("verbose", bool, False, "let Ray, TRL and the hub print what they print", ""),
)

CHOICES = {
    "lora_alpha_rule": ("fixed", "proportional", "rslora"),
    "scheduler": ("fifo", "asha"),
    "on_oom": ("record", "shrink"),
}


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """A command line as raw values by key: a text, a list of texts, or True for a flag alone. Values stay texts.

    `--grid` gathers its values; any other flag given twice counts as given last, as in argparse.

    Raises:
        ConfigError: a word belongs to no flag.
    """
    raw: dict[str, Any] = {}
    stray = []
    key = None
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            key = name.replace("-", "_")
            start = raw.get("grid", []) if key == "grid" else []
            raw[key] = [*start, value] if equals else list(start)
        elif key is None:
            stray.append(word)
        else:
            raw[key].append(word)
    if stray:
        raise ConfigError([f"{' '.join(stray)!r} belongs to no flag. Flags begin with --, as in --lora_r 8 32."])
    return {key: _unwrap(key, words) for key, words in raw.items()}


def _unwrap(key: str, words: list[str]) -> Any:
    if key in ("lora_r", "seeds", "grid"):
        return words
    if not words:
        return True
    return words[0] if len(words) == 1 else words


def help_text() -> str:
    """What `--help` prints."""
    parser = argparse.ArgumentParser(
        prog="python -m sweep.grid",
        description="Compares LoRA ranks by fine-tuning: one trial per rank, seed and further axis, then an answer.",
        epilog="Every trainer setting of TRL is a flag too (--learning_rate 1e-4, --max_steps 100, …): see --help_all.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--help_all", action="store_true", help="show the trainer's settings as well")
    for flag in FLAGS:
        shown = "" if flag.default in (None, {}, False) else f" (default: {_shown(flag.default)})"
        if flag.hint is bool:
            parser.add_argument(f"--{flag.name}", action="store_true", help=flag.help)
        else:
            nargs = "+" if flag.hint == list[str] else None
            parser.add_argument(f"--{flag.name}", metavar=flag.metavar, nargs=nargs, help=flag.help + shown)
    return parser.format_help()


def _shown(value: Any) -> str:
    return (
        " ".join(str(one) for one in value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
