"""Stores that can be made to refuse, and to take files again, while a sweep runs on them."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import boto3
from moto.server import ThreadedMotoServer

MEBIBYTE = 2**20


class Endpoint:
    """An S3 server that stops answering: what it holds stays."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self._host, self._port = self._server.get_host_and_port()
        url = f"http://{self._host}:{self._port}"
        self.environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
        )
        client.create_bucket(Bucket=f"sweeps-{self._port}")
        client.close()
        self.location = f"s3://sweeps-{self._port}/results"

    def fail(self) -> None:
        self._server.stop()

    def fix(self) -> None:
        self._server = ThreadedMotoServer(self._host, self._port, verbose=False)
        self._server.start()


class Disk:
    """A small file system of its own, in memory. Needs root: tests of it are marked `mount`."""

    environment: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        _mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))
        self.location = str(folder / "results")

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class FullDisk(Disk):
    """It has no room left."""

    def fail(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def fix(self) -> None:
        (self.folder / "ballast").unlink()


class ReadOnlyDisk(Disk):
    """Nothing in it may be written. (Taking the permission away would not do: root has it anyway.)"""

    def fail(self) -> None:
        deadline = time.monotonic() + 60
        while True:  # not while a file is open for writing
            try:
                return _mount("-o", "remount,ro", str(self.folder))
            except subprocess.CalledProcessError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def fix(self) -> None:
        _mount("-o", "remount,rw", str(self.folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


@contextmanager
def made(kind: str, tmp_path: Path) -> Iterator[Any]:
    if kind == "endpoint":
        endpoint = Endpoint()
        before = {key: os.environ.get(key) for key in endpoint.environment}
        os.environ.update(endpoint.environment)  # for the test's own look into it
        yield endpoint
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        endpoint.fail()
    else:
        disk = {"full": FullDisk, "read-only": ReadOnlyDisk}[kind](tmp_path / "disk")
        yield disk
        disk.close()
