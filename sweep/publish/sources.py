"""What a trial was trained from: its base model and its data, each from the Hub or from this machine."""

from dataclasses import dataclass
from pathlib import Path

from sweep.common.names import exists_locally, resolver
from sweep.publish.hub import is_repo
from sweep.publish.trained import Trained

_FILES = (".json", ".jsonl", ".csv", ".parquet", ".txt", ".arrow")


@dataclass(frozen=True)
class Base:
    """A base model.

    Attributes:
        name: as the user wrote it.
        path: its folder on this machine; None if it is from the Hub, or not on this machine.
        commit: the commit on the Hub that was used in training; None for a folder.
    """

    name: str
    path: str | None = None
    commit: str | None = None

    @property
    def of_hub(self) -> bool:
        return self.commit is not None


def base_of(trained: Trained) -> Base | None:
    """The trial's base model; None if its trainable has none."""
    name = trained.settings.get("model_name_or_path")
    if not isinstance(name, str):
        return None
    repo, _, commit = str(trained.provenance.get("model_fingerprint")).rpartition("@")
    if repo == name:
        return Base(name, commit=commit)
    path = resolver(str(Path.cwd()))(name)
    return Base(name, path=str(Path(path).resolve()) if exists_locally(path) else None)


def data_names(trained: Trained) -> list[str]:
    """What the trial's data set is called, or those of its mixture."""
    mixed = trained.settings.get("datasets")
    found = [one.get("path") for one in mixed] if isinstance(mixed, list) else [trained.settings.get("dataset_name")]
    return [name for name in found if isinstance(name, str)]


def hub_data(trained: Trained) -> list[str]:
    """Those of them that are the Hub's: names of repositories that are no files', nor folders' here."""
    return [name for name in data_names(trained) if _is_hubs(name)]


def _is_hubs(name: str) -> bool:
    if name.endswith(_FILES) or not is_repo(name):
        return False
    return not exists_locally(resolver(str(Path.cwd()))(name))
