"""Checks what this machine, the cluster and the store can do."""

import errno
import os
import socket
from pathlib import Path

import pyarrow.fs as pafs

from sweep import redact
from sweep.common.formatting import reason
from sweep.config.sweep_config import SweepConfig
from sweep.contract.trainable import Machine
from sweep.errors import Complaint, Problem, StoreError
from sweep.store.location import filesystem


def cuda_devices() -> int:
    """How many CUDA devices this machine has."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def check(config: SweepConfig, devices: int) -> list[Problem]:
    """What this machine cannot do, given its number of CUDA devices. A cluster is checked when it is joined."""
    found: list[Problem] = []
    gpus = config.gpus_per_trial or 0
    here = config.cluster is None
    if here and gpus > devices:
        fix = "Give 0 to train on the CPU, or --address of a cluster."
        found.append(Complaint("gpus_per_trial", f" {gpus:g}: this machine has {devices} GPUs. {fix}"))
    cores = os.cpu_count() or 1
    if here and config.cpus_per_trial > cores:
        text = f" {config.cpus_per_trial:g}: this machine has {cores} cores. Give at most that."
        found.append(Complaint("cpus_per_trial", text))
    found += check_address(config.cluster) if config.cluster else []
    if not here and "env" in config.sources:
        text = ": is set on this machine, and trials run on the cluster's. Set the variables there, and leave it out."
        found.append(Complaint("env", text))
    found += check_writable(config.location)
    return found


def as_told(config: SweepConfig, devices: int) -> Machine:
    """What a trainable knows about the machine; `devices` as above."""
    here = config.cluster is None
    if config.gpus_per_trial == 0:
        return Machine(here, "--gpus_per_trial 0 trains on the CPU")
    nowhere = here and not devices and not config.dry_run  # which may be made for another machine
    return Machine(here, "this machine has no CUDA device" if nowhere else None)


def check_address(address: str) -> list[Complaint]:
    """Checks that something listens at a cluster's address. Ray itself would try for ten minutes."""
    if address == "auto":
        return []
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        return [Complaint("address", f": expected HOST:PORT of a Ray cluster, or auto, got {address!r}.")]
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        fix = "Start one with `ray start --head`, or leave it out to use this machine."
        why = f"no Ray cluster answers at {address!r}: {reason(error)}"
        return [Complaint("address", f" (or RAY_ADDRESS): {why}. {fix}")]
    return []


def check_writable(location: str) -> list[Complaint]:
    """Checks that the sweep's folder can be created and written to."""
    text = _no_place(location)
    return [Complaint("storage_path", f": {text}")] if text else []


def _no_place(location: str) -> str | None:
    if redact.has_credentials(location):
        return (
            "the URI holds credentials, which would end up in results and logs. Leave them out of it and set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the store's own) in the environment."
        )
    if "://" in location and "?" in location:
        return "a URI with ?options cannot hold a sweep. Leave them out; AWS_ENDPOINT_URL names another server."
    try:
        why = _not_writable(location)
    except StoreError as error:
        return str(error)
    except (OSError, ValueError) as error:
        why = reason(error)
    fix = "Give a folder that you can write to, or a URI such as s3://bucket/folder."
    return f"{redact.urls(location)} cannot hold a sweep: {why}. {fix}" if why else None


def _not_writable(location: str) -> str | None:
    """Why the folder cannot be created or written to, as far as that can be told without doing it.

    Raises:
        StoreError, OSError, ValueError: it cannot be checked.
    """
    fs, path = filesystem(location)
    if fs.type_name != "local":
        bucket = path.split("/")[0]
        return f"there is no {bucket}" if fs.get_file_info(bucket).type == pafs.FileType.NotFound else None
    folder = Path(path)
    if any(len(os.fsencode(part)) > 255 for part in folder.parts):
        return os.strerror(errno.ENAMETOOLONG)
    while not os.path.lexists(folder):
        folder = folder.parent
    if folder.is_dir():
        return None if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to"
    return f"{folder} is {'a file' if folder.is_file() else 'not a folder'}"
