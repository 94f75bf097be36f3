"""Redacts what a sweep must not write: secrets, credentials in URLs, and the path of the home directory.

Results are shared and published. All text that enters them passes through here: `value` for settings and rows, `text` for
logs and messages, `in_place` for the files that Ray Tune writes itself.
"""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = "***"
_SHORTEST = 8  # characters of a secret; a shorter value may be an ordinary word
_ENVIRONMENT = re.compile(
    r"(^|_)(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|CONNECTION_STRING|WEBHOOK_URL)$", re.IGNORECASE
)
_SETTING = re.compile(r"(^|_)(token|key|secret|password)$")
NAME_PATHS = ("README.md", "adapter_config.json", "config.json", "trainer_state.json")  # of a checkpoint's files
_NO_SECRETS = frozenset({"eos_token", "bos_token", "pad_token", "unk_token"})
_LEARNED: set[str] = set()
_CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/@:'\"]*:[^\s/@'\"]*|(?<=https://)[^\s/@'\"]+|(?<=http://)[^\s/@'\"]+)(?=@)")

_BEFORE, _AFTER = r"(?<![\w.~-])", r"(?![\w-]|\.\w)"  # so that /home/ann does not match in /home/anna
_PICKLED_BEFORE = rb"(?:(?<=\x8c.)|(?<=X.{3}\x00)|" + _BEFORE.encode() + rb")"  # or at the start of a pickled string
_HEXADECIMAL = re.compile(rb"(?:[0-9a-f]{2}){32,}")


def is_secret(key: str) -> bool:
    """Whether a setting of this name is never written: hub_token and the like."""
    return _SETTING.search(key) is not None and key not in _NO_SECRETS


def learn(settings: Mapping[str, Any]) -> None:
    """From now on, redacts the values of these settings' secrets from everything that this process writes."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            learn(value)
        elif is_secret(key) and len(str(value)) >= _SHORTEST:
            _LEARNED.add(str(value))


def has_credentials(location: str) -> bool:
    """Whether a URI carries a user name and password."""
    return _CREDENTIALS.search(location) is not None


def urls(text: str) -> str:
    """Redacts credentials in URLs."""
    return _CREDENTIALS.sub(HIDDEN, text)


def plain(value: Any) -> Any:
    """Redacts secret settings, URL credentials and the home directory; the result does not depend on the environment."""
    return _mapped(value, lambda text: _without_home(urls(text)))


def value(value: Any) -> Any:
    """As `plain`; also redacts the values of secret environment variables."""
    return _mapped(value, text)


def text(text: str) -> str:
    """Redacts secrets, URL credentials and the home directory."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _without_home(urls(text))


def in_place(data: bytes) -> bytes:
    """Redacts a file's bytes without changing their length, so that pickle and JSON files stay valid.

    The home directory becomes `~///…`, which as a path means `~/`. Covers pickles that JSON holds as hexadecimal digits.
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
    """Redacts the files of a checkpoint that contain paths; `names` maps further paths to what replaces them.

    No other file is touched: a tokenizer's vocabulary may well have an entry that looks like the home directory.
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
    """Longest first: one may be a prefix of another."""
    found = {one for name, one in os.environ.items() if _ENVIRONMENT.search(name) and len(one) >= _SHORTEST}
    return sorted(found | _LEARNED, key=len, reverse=True)


def _homes() -> tuple[str, ...]:
    return _homes_of(os.path.expanduser("~"))  # noqa: PTH111  # unlike Path.home it never raises


@functools.cache
def _homes_of(home: str) -> tuple[str, ...]:
    """The home directory's paths, as given and with links resolved; none if it is the root."""
    names = dict.fromkeys([home.rstrip("/"), os.path.realpath(home)])
    return tuple(sorted((name for name in names if name.startswith("/") and len(name) > 1), key=len, reverse=True))


def _without_home(text: str) -> str:
    for home in _homes():
        text = re.sub(_BEFORE + re.escape(home) + _AFTER, "~", text)
    return text
