"""A Ray that was started here, and someone on the network who has no token."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HOST = """
import os, sys, ray
from sweep.run import runner
runner.start(None, False)

@ray.remote(num_cpus=0)
def seen():
    return dict(os.environ)

token = open(os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")).read()
print(ray.get_runtime_context().gcs_address, token, token in str(ray.get(seen.remote())), flush=True)
sys.stdin.read()
"""
GUEST = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("in:", ray.get(ray.remote(num_cpus=0)(lambda: 6 * 7).remote()), flush=True)
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**keep, "HOME": str(home), "PYTHONPATH": str(PROJECT), **more}


def guest(address: str, home: Path, **more: str) -> str:
    """What comes of joining, from a home without a token. Who is refused may wait for long, so it is ended."""
    command = [sys.executable, "-c", GUEST, address]
    given = environment(home, **more)
    with (home / "said").open("w") as said:
        process = subprocess.Popen(command, env=given, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return (home / "said").read_text()


@pytest.fixture(params=["home", "no home"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and token of a Ray that the runner has started."""
    home = tmp_path / "host"
    home.mkdir() if request.param == "home" else home.write_text("")
    given = environment(home, TMPDIR=str(tmp_path), RAY_TMPDIR="/tmp")
    command = [sys.executable, "-c", HOST]
    with subprocess.Popen(
        command, env=given, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        address, token, known = process.stdout.readline().split()
        assert known == "False", "no worker has the token in its environment"
        yield address, token
        process.stdin.close()
    assert not list(tmp_path.glob("ray-auth-token-*")), "nothing of it is left"


def test_a_stranger_is_refused_and_who_has_the_token_is_not(host: tuple[str, str], tmp_path: Path) -> None:
    address, token = host  # the machine's own address, where it has a network
    stranger, wrong, friend = (tmp_path / name for name in ("stranger", "wrong", "friend"))
    for folder in (stranger, wrong, friend):
        folder.mkdir()
    said = guest(address, stranger)
    assert "in: 42" not in said and "Unauthenticated" in said
    said = guest(address, wrong, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    assert "in: 42" not in said and "Unauthenticated" in said
    assert "in: 42" in guest(address, friend, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
