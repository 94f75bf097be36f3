"""python -m sweep.estimate --preset opt-350m-codealpaca --gpu a10g: what a sweep takes, before it runs."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep import redact
from sweep.errors import Complaint, ConfigError, Problem, SweepError
from sweep.estimate.cards import CARDS, card
from sweep.estimate.prediction import UTILIZATION

if TYPE_CHECKING:
    from sweep.estimate.predict import Assumed

OK, BAD_CONFIGURATION = 0, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    own, words = _parser().parse_known_args(sys.argv[1:] if argv is None else list(argv))
    try:
        return _estimate(own, words)
    except SweepError as error:
        print(redact.urls(str(error)), file=sys.stderr)
        return BAD_CONFIGURATION


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sweep.estimate",
        description="What a sweep takes before it runs: memory by rank, what fits a card, hours and money. "
        "No weights are downloaded, no GPU is needed, nothing is allocated.",
        epilog="Every flag and preset of python -m sweep.grid is one here, too.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda", help="whose memory is predicted (default: cuda)")
    add("--gpu", metavar="CARD", help=f"the card that trials run on: {', '.join(CARDS)}")
    add("--gpu_memory_gb", type=float, help="its memory in GB of 10^9 bytes, for a card without a name here")
    add("--utilization", type=float, default=UTILIZATION, help="assumed share of the card's peak (default: 0.3)")
    add("--price_per_hour", type=float, help="US dollars for an hour of one card; default: a list price")
    add("--rows", type=int, help="training rows, with --length in place of reading the data")
    add("--length", type=int, help="tokens of a row")
    add("--format", choices=("table", "json"), default="table", help="what is printed (default: table)")
    return parser


def _estimate(own: argparse.Namespace, words: list[str]) -> int:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from sweep.estimate import show
    from sweep.estimate.predict import Assumed, checked, predict

    assumed = Assumed(own.device, own.gpu, own.gpu_memory_gb, own.utilization, own.price_per_hour, own.rows, own.length)
    _refuse(assumed)
    found = predict(checked(words, assumed), assumed)
    print(json.dumps(show.as_dict(found), indent=2, ensure_ascii=False) if own.format == "json" else show.text(found))
    return OK


def _refuse(assumed: "Assumed") -> None:
    """What is wrong with the flags of this command alone."""
    wrong: list[Problem] = []
    for name, least in (("rows", 1), ("length", 2), ("price_per_hour", 0)):
        value = getattr(assumed, name)
        if value is not None and value < least:
            wrong.append(Complaint(name, f": must be at least {least}, got {value:g}."))
    if (assumed.rows is None) != (assumed.length is None):
        wrong.append("--rows and --length stand in for the data together: give both, or neither.")
    if not 0 < assumed.utilization <= 1:
        text = f": is a share of the card's peak above 0, at most 1, got {assumed.utilization:g}."
        wrong.append(Complaint("utilization", text))
    try:
        card(assumed.gpu, assumed.gpu_memory_gb)
    except ConfigError as error:
        wrong += error.complaints
    if wrong:
        raise ConfigError(wrong)


if __name__ == "__main__":
    sys.exit(main())
