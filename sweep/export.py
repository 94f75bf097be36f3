"""A trained adapter as a folder to load or to share: `python -m sweep.export results/NAME`, with a model card.

By default the recommended trial's. `--push_to_hub USER/REPO` also uploads the folder to the Hugging Face Hub.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep import analysis
from sweep.common.program import Parser, command
from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.answer.answer import Answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the folder, pushes it if asked to, and says where it is; returns the exit code."""
    given = parser().parse_args(arguments)
    from sweep.publish import hub
    from sweep.publish.folder import export
    from sweep.publish.trained import choose

    try:
        if given.push_to_hub is not None:
            hub.check(given.push_to_hub)
        sweep = analysis.load(given.sweep)
        found = analysis.answer(sweep, margin=given.margin, prefer=given.prefer)
        trained = choose(sweep, found, given.trial)
        exported = export(sweep, found, trained, given.output, given.push_to_hub)
        for line in [*_doubts(found, given.trial), *exported.warnings]:
            print(f"warning: {line}", file=sys.stderr)
        print(exported.folder)
        if given.push_to_hub is not None:
            print(hub.push(exported.folder, given.push_to_hub, private=given.private or None))
    except SweepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def parser() -> Parser:
    flags = Parser(
        "export",
        description="Writes a trained adapter, or a fully fine-tuned model, with its model card into a folder.",
    )
    flags.add_argument("sweep", help="a sweep's folder or URI, e.g. results/demo")
    flags.add_argument("--trial", metavar="ID", help="which trial (default: the recommended configuration's best)")
    flags.add_argument("--output", metavar="FOLDER", help="a new folder (default: exports/NAME-TRIAL)")
    flags.add_argument("--push_to_hub", metavar="REPO", help="also upload it, to USER/NAME of the Hugging Face Hub")
    flags.add_argument("--private", action="store_true", help="make that repository private, if it is a new one")
    analysis.add_rules(flags)
    return flags


def _doubts(found: "Answer", named: str | None) -> list[str]:
    """What there is to say against exporting what is recommended."""
    if named is not None or found.recommendation is None:
        return []
    partial = ["the recommendation is partial: not all trials have ended"] if found.partial else []
    decided = [] if found.recommendation.decided else ["the recommendation is not decided: the model card says why"]
    return [*partial, *decided]


if __name__ == "__main__":
    command(main)
