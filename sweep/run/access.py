"""Who may use the Ray that is started here: whoever has its token, which is this user's alone.

Ray listens on all of the machine's addresses. It asks for a token, and makes one where it finds none, in a file that everyone may
read. So the file is there before Ray looks. The token of a cluster that the user names is the user's affair.
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
    """Makes the token if there is none; leaves one that is there as it is, but for who may read it."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = _written(file.parent)
        try:
            with suppress(FileExistsError):  # another driver was faster: both have that one's
                os.link(aside, file)
        finally:
            aside.unlink()
    file.chmod(0o600)


def _for_this_process() -> None:
    """A token beside the machine's other temporary files; workers are told where."""
    file = _written(Path(tempfile.gettempdir()))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
    atexit.register(file.unlink, missing_ok=True)


def _written(folder: Path) -> Path:
    """A new file with a new token, which only its owner can read from its first moment on."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="ray-auth-token-")
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_hex(32))  # 256 bits, as Ray's own
    return Path(name)
