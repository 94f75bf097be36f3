"""Every error that the project raises on purpose.

SweepError                 something a user can fix; the command line prints it without a traceback and exits with its code, 2
├── ConfigError            the settings are wrong: carries every complaint, not just the first
├── RowsError              a file of results cannot be understood: carries every complaint
├── PushFailed             what was exported could not be uploaded to the Hub: the command exits 1
└── StoreError             a sweep directory cannot be used
    ├── NotASweep          there is no sweep at that location
    ├── NewerSchema        it was written by a later version of this project
    ├── OtherSweep         it belongs to another base configuration
    ├── SweepInUse         another driver is running it
    ├── StoreUnreachable   it could not be written to for too long while a sweep ran: the command exits 1
    └── LockLost           another driver took it over while this one ran: the command exits 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a setting.

    Attributes:
        key: the setting's name; `grid KEY` is an axis.
        text: continues the sentence after the name: `: must be above 0, got -1.` or ` is missing: name one.`
        source: where its value was read: `flag`, a file's name, `preset demo`. None: the source of the value in use.
    """

    key: str
    text: str
    source: str | None = None

    def __str__(self) -> str:
        return written(self.key, self.source or "flag") + self.text


Problem: TypeAlias = Complaint | str  # a plain string is about no single setting


def written(key: str, source: str) -> str:
    """A setting's name as the user wrote it: a flag, or a key of the file or preset that `source` names."""
    shown = key if key.isprintable() and key == key.strip() and key else repr(key)
    return f"--{shown}" if source in ("flag", "default") else f"{shown} (in {source})"


class SweepError(Exception):
    """Base class. The message says what is wrong, what was found, and how to fix it."""

    exit_code: ClassVar[int] = 2  # nothing was started


class ConfigError(SweepError):
    """Everything that is wrong with a configuration, at once."""

    def __init__(self, complaints: Sequence[Problem]) -> None:
        self.complaints = tuple(complaints)
        count = len(self.complaints)
        head = f"{count} problem{'' if count == 1 else 's'} with this configuration; nothing was started:"
        super().__init__("\n".join([head, *(f"  - {complaint}" for complaint in self.complaints)]))


class RowsError(SweepError):
    """Everything that is wrong with a file of results, at once."""

    def __init__(self, path: str, complaints: Sequence[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__(
            "\n".join([f"{path!r} cannot be used:", *(f"  - {complaint}" for complaint in self.complaints)])
        )


class PushFailed(SweepError):
    """The Hub did not take an exported folder; the folder is complete."""

    exit_code = 1


class StoreError(SweepError):
    """A sweep directory cannot be read or written."""


class NotASweep(StoreError):
    """There is no sweep.json at that location."""


class NewerSchema(StoreError):
    """The directory's schema version is later than this code's."""


class OtherSweep(StoreError):
    """The directory holds a sweep with another base configuration."""


class SweepInUse(StoreError):
    """Another driver holds the directory's lock."""


class StoreUnreachable(StoreError):
    """The directory could not be written to; what was measured is kept on local disk."""

    exit_code = 1


class LockLost(StoreError):
    """The directory's lock now belongs to another driver, or is gone: nothing more is written."""

    exit_code = 1
