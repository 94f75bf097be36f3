"""What a sweep must not write down: secrets, credentials in URLs, and the name of the home directory.

Results are shared and published. Whatever enters them as text passes through here: `value` for settings and rows, `text` for
logs and messages, `in_place` for the files that Ray Tune makes of itself.
"""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = "***"
_SHORTEST = 8  # characters of a secret; a shorter value is a word that texts have anyway
_ENVIRONMENT = re.compile(
    r"(^|_)(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|CONNECTION_STRING|WEBHOOK_URL)$", re.IGNORECASE
)
_SETTING = re.compile(r"(^|_)(token|key|secret|password)$")
NAME_PATHS = ("README.md", "adapter_config.json", "config.json", "trainer_state.json")  # of a checkpoint's files
_NO_SECRETS = frozenset({"eos_token", "bos_token", "pad_token", "unk_token"})
_LEARNED: set[str] = set()
_CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/@:'\"]*:[^\s/@'\"]*|(?<=https://)[^\s/@'\"]+|(?<=http://)[^\s/@'\"]+)(?=@)")

_BEFORE, _AFTER = r"(?<![\w.~-])", r"(?![\w-]|\.\w)"  # what a whole folder's name does not stand in
_PICKLED_BEFORE = rb"(?:(?<=\x8c.)|(?<=X.{3}\x00)|" + _BEFORE.encode() + rb")"  # or it begins a pickled text
_HEXADECIMAL = re.compile(rb"(?:[0-9a-f]{2}){32,}")


def is_secret(key: str) -> bool:
    """Whether a setting of this name is never written: hub_token and its like."""
    return _SETTING.search(key) is not None and key not in _NO_SECRETS


def learn(settings: Mapping[str, Any]) -> None:
    """From now on the values of these settings' secrets are taken out of whatever this process writes."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            learn(value)
        elif is_secret(key) and len(str(value)) >= _SHORTEST:
            _LEARNED.add(str(value))


def has_credentials(location: str) -> bool:
    """Whether a URI carries a user's name and password."""
    return _CREDENTIALS.search(location) is not None


def urls(text: str) -> str:
    """The text without credentials in URLs."""
    return _CREDENTIALS.sub(HIDDEN, text)


def plain(value: Any) -> Any:
    """A value without secret settings, URL credentials and the home directory's name, whatever the environment holds."""
    return _mapped(value, lambda text: _without_home(urls(text)))


def value(value: Any) -> Any:
    """The same, and without the values of secret environment variables."""
    return _mapped(value, text)


def text(text: str) -> str:
    """A text without secrets, URL credentials and the home directory's name."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _without_home(urls(text))


def in_place(data: bytes) -> bytes:
    """A file's bytes with the same taken out, at the same length: a pickle or JSON stays what it is.

    The home directory becomes `~///…`, which a path may say for `~/`. Pickles that JSON holds as hexadecimal digits count too.
    """
    return _in_place(data, [secret.encode() for secret in _secrets()])


def _in_place(data: bytes, secrets: list[bytes]) -> bytes:
    data = _HEXADECIMAL.sub(
        lambda match: _in_place(bytes.fromhex(match.group().decode()), secrets).hex().encode(), data
    )
    for secret in secrets:
        data = data.replace(secret, b"*" * len(secret))
    data = re.sub(_CREDENTIALS.pattern.encode(), lambda match: b"*" * len(match.group()), data)
    for home in map(os.fsencode, _homes()):
        pattern = _PICKLED_BEFORE + re.escape(home) + _AFTER.encode()
        data = re.sub(pattern, b"~" + b"/" * (len(home) - 1), data, flags=re.DOTALL)
    return data


def folder(place: Path, names: Mapping[str, str]) -> None:
    """Does it to the files of a checkpoint that name paths; `names` are paths that get another name.

    No other file is touched: a tokenizer's vocabulary may well have an entry that reads as the home directory.
    """
    for path in [path for path in place.rglob("*") if path.name in NAME_PATHS and path.is_file()]:
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = before
        for found, name in names.items():
            after = after.replace(found, name)
        after = text(after)
        if after != before:
            aside = path.with_name(path.name + ".tmp")  # the file may be a link to the trainer's own
            aside.write_text(after, encoding="utf-8", errors="surrogateescape")
            aside.replace(path)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items() if not is_secret(str(key))}
    if isinstance(value, list | tuple):
        return [_mapped(one, change) for one in value]
    return value


def _secrets() -> list[str]:
    """Longest first: one may be the beginning of another."""
    met = {one for name, one in os.environ.items() if _ENVIRONMENT.search(name) and len(one) >= _SHORTEST}
    return sorted(met | _LEARNED, key=len, reverse=True)


def _homes() -> tuple[str, ...]:
    return _homes_of(os.path.expanduser("~"))  # noqa: PTH111  # unlike Path.home it never raises


@functools.cache
def _homes_of(home: str) -> tuple[str, ...]:
    """The home directory's names, itself and where links lead; none where it is no folder of its own."""
    names = dict.fromkeys([home.rstrip("/"), os.path.realpath(home)])
    return tuple(sorted((name for name in names if name.startswith("/") and len(name) > 1), key=len, reverse=True))


def _without_home(text: str) -> str:
    for home in _homes():
        text = re.sub(_BEFORE + re.escape(home) + _AFTER, "~", text)
    return text
