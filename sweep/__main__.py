"""Every command under one name: `lora-sweep grid` is `python -m sweep.grid`."""

import argparse
import runpy
import sys
from importlib.util import find_spec

from sweep.common import program

COMMANDS = {
    "grid": "compares LoRA ranks by fine-tuning: one trial per rank and seed, then an answer",
    "analysis": "prints a sweep's answer again: which rank, how sure, at what price",
    "report": "writes the answer as one HTML file",
    "estimate": "predicts or measures what a sweep takes: memory by rank, hours, money",
    "export": "writes a trial's adapter as a folder that peft loads, with a model card",
    "decisions": "shows what a sweep decided to train, and from what",
}


def main() -> None:
    """Runs the command that the command line names, as `python -m` does, and exits with its code."""
    with program.piped():
        name = _named()
        sys.argv = [program.called(name), *sys.argv[2:]]
        runpy.run_module(f"sweep.{name}", run_name="__main__")


def _named() -> str:
    there = {name: text for name, text in COMMANDS.items() if find_spec(f"sweep.{name}")}
    parser = program.Parser(
        None,
        usage="%(prog)s COMMAND [--help] …",
        description="Which LoRA rank should I use for this model, this data and this GPU?",
        epilog="\n".join(["commands:", *(f"  {name:<10} {text}" for name, text in there.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=there, help=argparse.SUPPRESS)
    return str(parser.parse_args(sys.argv[1:2]).command)


if __name__ == "__main__":
    main()
