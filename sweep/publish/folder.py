"""Writes the exported folder: the trained weights as saved, with the base model's name, and a model card."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sweep import redact
from sweep.answer.answer import Answer
from sweep.common.formatting import reason
from sweep.errors import StoreError, SweepError
from sweep.publish.card import CARD, PICTURE, Kind, card
from sweep.publish.picture import picture
from sweep.publish.sources import Base, base_of
from sweep.publish.trained import Trained
from sweep.store.checkpoints import SEAL
from sweep.store.loading import Sweep

ADAPTER = "adapter_config.json"
KINDS: dict[Kind, str] = {"adapter": ADAPTER, "model": "config.json"}  # the file that each has


@dataclass(frozen=True)
class Exported:
    """The folder, and what its reader should know."""

    folder: Path
    warnings: tuple[str, ...]


def export(sweep: Sweep, answer: Answer, trained: Trained, output: str | None, repo: str | None = None) -> Exported:
    """Writes the folder, complete or not at all.

    Args:
        output: a folder that does not exist or is empty; by default `exports/NAME-TRIAL` in the current directory.
        repo: the repository on the Hub that the folder is meant for; if given, local paths are not written.

    Raises:
        SweepError: the folder is not empty, or it cannot be written.
        StoreError: the weights cannot be read.
    """
    folder = _place(output, f"{sweep.name}-{trained.row['trial_id']}")
    base = base_of(trained)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as aside:
            made = Path(aside, "made")
            _download(trained, made)
            _name_base(made / ADAPTER, base, shared=repo is not None)
            _describe(made, sweep, answer, trained, base, repo or str(folder))
            made.replace(folder)
    except OSError as error:
        raise SweepError(
            f"{str(folder)!r} cannot be written: {reason(error)}. Give another place with --output FOLDER."
        ) from error
    return Exported(folder, tuple(_warnings(base, shared=repo is not None)))


def _place(output: str | None, name: str) -> Path:
    if output == "":
        raise SweepError("--output: expected a folder, got ''. Leave it out to write into one below exports.")
    folder = Path(output or Path("exports", name))
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise SweepError(f"{str(folder)!r} exists already. Remove it, or name a new folder with --output.")
    return folder


def _download(trained: Trained, into: Path) -> None:
    """The files of the checkpoint, without its seal."""
    try:
        trained.store.download(trained.final.name, into)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{trained.store.uri(trained.final.name)} cannot be copied to {str(into.parent)!r}: {reason(error)}. "
            "Once that is solved, run the command again."
        ) from error
    (into / SEAL).unlink()


def _name_base(config: Path, base: Base | None, shared: bool) -> None:
    """Names the base model in the adapter's configuration: by absolute path, or by its name and commit on the Hub."""
    if base is None or not config.is_file():
        return
    name = base.path if base.path and not shared else base.name
    content = json.loads(config.read_bytes())
    content |= {"base_model_name_or_path": name, "revision": base.commit}
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def _describe(folder: Path, sweep: Sweep, answer: Answer, trained: Trained, base: Base | None, name: str) -> None:
    drawn = picture(sweep, answer)
    if drawn is not None:
        (folder / PICTURE).write_text(redact.text(drawn.svg), encoding="utf-8")
    kind = next((kind for kind, file in KINDS.items() if (folder / file).is_file()), None)
    text = card(sweep, answer, trained, base, name, kind, drawn)
    (folder / CARD).write_text(text, encoding="utf-8")


def _warnings(base: Base | None, shared: bool) -> list[str]:
    if base is None or base.of_hub:
        return []
    if shared:
        return [f"the base model {base.name} is a folder: whoever loads the adapter needs that folder, under that name"]
    if base.path is None:
        return [
            f"the base model {base.name} is not on this machine: the adapter only loads where that model is available under that name"
        ]
    return []
