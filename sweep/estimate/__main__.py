"""Estimates what a sweep takes before it runs.

    python -m sweep.estimate --preset opt-350m-codealpaca --gpu a10g
    python -m sweep.estimate --preset opt-350m-codealpaca --measure

The second trains ten steps of each configuration on this machine.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from sweep import redact
from sweep.common.program import Parser, command
from sweep.common.quiet import set_quiet_environment
from sweep.config import layers
from sweep.contract.cards import CARDS, card
from sweep.errors import Complaint, ConfigError, Problem, SweepError
from sweep.estimate.prediction import UTILIZATION, Assumed

OK, SOME_FAILED, BAD_CONFIGURATION, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    own, words = parser().parse_known_args(sys.argv[1:] if argv is None else list(argv))
    try:
        return _estimate(own, words)
    except SweepError as error:
        print(redact.urls(str(error)), file=sys.stderr)
        return BAD_CONFIGURATION
    except KeyboardInterrupt:
        print("Interrupted. Nothing of what was measured is kept.", file=sys.stderr)
        return INTERRUPTED


def parser() -> Parser:
    flags = Parser(
        "estimate",
        description="What a sweep takes before it runs: memory by rank, what fits a card, hours and money. "
        "Unless --measure is given, no weights are downloaded, no GPU is needed, and nothing is allocated.",
        epilog="Every flag and preset of python -m sweep.grid works here, too.",
        allow_abbrev=False,
    )
    add = flags.add_argument
    add(
        "--device",
        choices=("cuda", "cpu"),
        help="device whose memory is predicted (default: cuda; with --measure, this machine's)",
    )
    add(
        "--measure",
        action="store_true",
        help="train ten real steps of each configuration on this machine, without Ray",
    )
    add("--random_weights", action="store_true", help="measure with random weights: only the configuration is read")
    add("--gpu", metavar="CARD", help=f"the card that trials run on: {', '.join(CARDS)}")
    add("--gpu_memory_gb", type=float, help="its memory in GB of 10^9 bytes, for a card not listed here")
    add("--utilization", type=float, help="assumed share of the card's peak (default: 0.3)")
    add("--price_per_hour", type=float, help="US dollars for an hour of one card; default: a list price")
    add("--rows", type=int, help="number of training rows; with --length, replaces reading the data")
    add("--length", type=int, help="tokens per row")
    add("--format", choices=("table", "json"), default="table", help="output format (default: table)")
    return flags


def _estimate(own: argparse.Namespace, words: list[str]) -> int:
    layers.set_environment(words)
    set_quiet_environment()
    _refuse(own)
    assumed = Assumed(
        device=own.device or "cuda",
        gpu=own.gpu,
        gpu_memory_gb=own.gpu_memory_gb,
        utilization=UTILIZATION if own.utilization is None else own.utilization,
        price_per_hour=own.price_per_hour,
        rows=own.rows,
        length=own.length,
    )
    return (_measure if own.measure else _predict)(own, words, assumed)


def _predict(own: argparse.Namespace, words: list[str], assumed: Assumed) -> int:
    from sweep.estimate import show
    from sweep.estimate.forecast import checked, predict

    found = predict(checked(words, assumed), assumed)
    _print(show.as_dict(found) if own.format == "json" else show.text(found))
    return OK


def _measure(own: argparse.Namespace, words: list[str], assumed: Assumed) -> int:
    """Returns exit code 1 if a configuration failed, since nothing is known about it."""
    from sweep.estimate import show_measured
    from sweep.estimate.measure import measure, prepared

    config, assumed, measurer = prepared(words, assumed, own.device, own.random_weights)
    found = measure(config, assumed, measurer, own.random_weights)
    _print(show_measured.as_dict(found) if own.format == "json" else show_measured.text(found))
    return SOME_FAILED if any(line.reason for line in found.lines) else OK


def _print(what: dict[str, Any] | str) -> None:
    print(what if isinstance(what, str) else json.dumps(what, indent=2, ensure_ascii=False))


def _refuse(own: argparse.Namespace) -> None:
    """Raises ConfigError with what is wrong with this command's own flags."""
    wrong: list[Problem] = [*_out_of_range(own), *_contradictory(own)]
    try:
        card(own.gpu, own.gpu_memory_gb)
    except ConfigError as error:
        wrong += error.complaints
    if wrong:
        raise ConfigError(wrong)


def _out_of_range(own: argparse.Namespace) -> list[Problem]:
    wrong: list[Problem] = []
    for name, least in (("rows", 1), ("length", 2), ("price_per_hour", 0)):
        value = getattr(own, name)
        if value is not None and not least <= value < math.inf:
            wrong.append(Complaint(name, f": must be at least {least}, got {value:g}."))
    if own.utilization is not None and not 0 < own.utilization <= 1:
        text = f": must be a share of the card's peak, above 0 and at most 1, got {own.utilization:g}."
        wrong.append(Complaint("utilization", text))
    return wrong


def _contradictory(own: argparse.Namespace) -> list[str]:
    wrong = []
    if (own.rows is None) != (own.length is None):
        wrong.append("--rows and --length replace the data together: give both, or neither.")
    if own.random_weights and not own.measure:
        wrong.append("--random_weights: needs --measure. A prediction reads no weights at all.")
    for name in ("utilization", "gpu_memory_gb"):
        if own.measure and getattr(own, name) is not None:
            wrong.append(f"--{name}: is an assumption, and --measure measures. Leave one of the two out.")
    if own.measure and own.gpu is not None and own.device == "cpu":
        wrong.append("--gpu: names a card, and --device cpu measures without one. Leave one of the two out.")
    return wrong


if __name__ == "__main__":
    command(main)
