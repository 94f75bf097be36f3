"""Protects the local Ray with a token that only this user can read.

Ray listens on all of the machine's addresses. It requires a token, and creates one if it finds none, in a world-readable
file. So the file is created before Ray looks for it. The token of a cluster that the user names is up to the user.
"""

import atexit
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def protect() -> None:
    """Makes sure that a local Ray finds a token that only this user can read."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return  # the user's own
    home = os.environ.get("HOME")  # where Ray looks
    try:
        if not home:
            raise FileNotFoundError("there is no home directory")
        _in_home(Path(home, ".ray", "auth_token"))
    except OSError:
        _for_this_process()


def _in_home(file: Path) -> None:
    """Creates the token if there is none; of an existing one, only restricts who may read it."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = _written(file.parent)
        try:
            with suppress(FileExistsError):  # another driver was faster: both use its token
                os.link(aside, file)
        finally:
            aside.unlink()
    file.chmod(0o600)


def _for_this_process() -> None:
    """A token in the temporary directory; workers get its path."""
    file = _written(Path(tempfile.gettempdir()))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
    atexit.register(file.unlink, missing_ok=True)


def _written(folder: Path) -> Path:
    """Creates a file with a new token, readable by its owner only from the start."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="ray-auth-token-")
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_hex(32))  # 256 bits, as Ray's own
    return Path(name)
