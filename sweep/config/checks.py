"""What may be wrong with a configuration's values, apart from their types."""

import dataclasses
import errno
import os
import re
import socket
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep import redact
from sweep.common.formatting import reason, sentence
from sweep.config import flags
from sweep.config.fields import nearest, shown
from sweep.contract.loading import load
from sweep.contract.trainable import Machine
from sweep.errors import StoreError
from sweep.space import FULL, REFERENCE_RANK, Rank, Trial, is_lora_setting

HIGHEST_RANK = 2**16  # no model has a wider layer

if TYPE_CHECKING:
    from sweep.config.sweep_config import SweepConfig


def check_values(
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
    sources: Mapping[str, str],
    complaints: list[str],
    required: Sequence[str],
) -> tuple[tuple[Rank, ...], tuple[int, ...]]:
    """Checks the sweep's own settings, and that those are there without which the trainable has no trial.

    Returns ranks and seeds, those of them that can be used.
    """
    ranks = _numbers("lora_r", own["lora_r"], (1, HIGHEST_RANK), complaints, also=(FULL,))
    seeds = _numbers("seeds", own["seeds"], (0, 2**32 - 1), complaints)
    for key, choices in flags.CHOICES.items():
        if own[key] not in choices:
            complaints.append(
                f"--{key}: expected one of {', '.join(choices)}, got {own[key]!r}.{nearest(str(own[key]), choices)}"
            )
    _check_amounts(own, complaints)
    if re.fullmatch(r"(\w+:/*)?", own["storage_path"]):
        complaints.append(
            f"--storage_path: expected a folder, or a URI such as s3://bucket/folder, got {own['storage_path']!r}."
        )
    _check_lora(ranks, own, settings, sources, complaints)
    for key in required:
        if not (settings.get(key) or all(own["grid"].get(key, [None]))):
            complaints.append(f"--{key} is missing: name one, or start from --preset demo.")
    name = own["name"]
    if name is not None and not re.fullmatch(r"[\w][\w.-]{0,99}", name):
        complaints.append(
            f"--name {name!r}: use up to 100 letters, digits, dots, dashes and underscores; the folder goes into --storage_path."
        )
    return tuple(ranks), tuple(int(seed) for seed in seeds)


def _numbers(
    key: str, words: Sequence[Any], bounds: tuple[int, int], complaints: list[str], also: tuple[str, ...] = ()
) -> list[Any]:
    """Whole numbers of a list flag, each once; what is none becomes a complaint."""
    values: list[Any] = []
    bad = []
    least, most = bounds
    for word in words:
        text = word if isinstance(word, str) else shown(word)
        if text in also:
            values.append(text)
        elif re.fullmatch(r"[+-]?[0-9]{1,12}", text) and least <= int(text) <= most:
            values.append(int(text))
        else:
            bad.append(text if re.fullmatch(r"[!-~]+", text) else repr(text))
    kind = f"whole numbers from {least} to {most}{', or `full`' if also else ''}"
    if bad:
        complaints.append(
            f"--{key}: {', '.join(bad)} cannot be used: give {kind}, as in --{key} {'8 32' if also else '0 1 2'}."
        )
    if not words:
        complaints.append(f"--{key}: the axis is empty. Give {kind}.")
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        complaints.append(f"--{key}: {twice[0]} is there twice. Name each once.")
    return list(dict.fromkeys(values))


def _check_amounts(own: Mapping[str, Any], complaints: list[str]) -> None:
    for key, least, exclusive in (
        ("gpus_per_trial", 0, False),
        ("cpus_per_trial", 0, True),
        ("max_concurrent_trials", 1, False),
        ("max_failures", 0, False),
        ("storage_patience_s", 0, False),
        ("asha_grace_period", 1, False),
        ("asha_reduction_factor", 1, True),
        ("asha_brackets", 1, False),
        ("asha_max_t", 1, False),
        ("margin", 0, True),
    ):
        value = own[key]
        if value is not None and not (value > least if exclusive else value >= least):
            complaints.append(f"--{key}: must be {'above' if exclusive else 'at least'} {least}, got {value:g}.")
    grace, end = own["asha_grace_period"], own["asha_max_t"]
    if end is not None and grace > end:
        complaints.append(
            f"--asha_grace_period: {grace} is above --asha_max_t {end}, so nothing would be stopped early."
        )
    gpus = own["gpus_per_trial"]
    if gpus is not None and gpus > 1:
        complaints.append(
            f"--gpus_per_trial: a trial runs on one GPU or a fraction of one, got {gpus:g}. Give a number up to 1."
        )
    if own["margin"] is not None and own["margin"] >= 1:
        complaints.append(f"--margin: is a share of the loss, got {own['margin']:g}. Half a percent is 0.005.")


def _check_lora(
    ranks: Sequence[Rank],
    own: Mapping[str, Any],
    settings: Mapping[str, Any],
    sources: Mapping[str, str],
    complaints: list[str],
) -> None:
    mine = [
        key
        for key in (*settings, *(f"grid {axis}" for axis in own["grid"]))
        if is_lora_setting(key.removeprefix("grid "))
    ]
    mine += ["lora_alpha_rule"] if "lora_alpha_rule" in sources else []
    asked = [key for key in mine if not sources.get(key, "").startswith("preset")]
    if list(ranks) == [FULL] and asked:
        complaints.append(
            f"{', '.join(f'--{key}' for key in asked)}: means nothing, since every trial is full fine-tuning. "
            "Leave it out, or add a rank to --lora_r."
        )
    if own["lora_alpha_rule"] == "rslora" and settings.get("use_rslora") is False:
        complaints.append("--use_rslora false contradicts --lora_alpha_rule rslora. Give one of the two.")
    if own["lora_alpha_rule"] == "proportional" and "lora_alpha" in own["grid"]:
        complaints.append(
            f"--grid lora_alpha: under --lora_alpha_rule proportional alpha follows the rank "
            f"(lora_alpha/{REFERENCE_RANK} per rank). Use --lora_alpha_rule fixed."
        )


def check_trainer(configs: Sequence[str], trials: Sequence[Trial], where: Mapping[str, str]) -> list[str]:
    """What the trainable's dataclasses themselves say against the trials' settings, each complaint once.

    `configs` names them as "module:name"; `where` has a setting's name as the user wrote it.
    """
    mine = {cls: {field.name for field in dataclasses.fields(cls) if field.init} for cls in map(load, configs)}
    found: dict[str, None] = {}
    for trial in trials:
        for cls, names in mine.items():
            chosen = {key: value for key, value in trial.settings.items() if key in names}
            refusal = _refusal(cls, chosen)
            if refusal:
                blamed = [
                    f"{where.get(key, f'--{key}')} {shown(chosen[key])}"
                    for key in _blamed(cls, chosen)
                    if key != "seed"
                ]
                found[f"{', '.join(blamed) or 'the settings'}: refused by the trainer: {sentence(refusal)}"] = None
    return list(found)


def _refusal(cls: Any, settings: Mapping[str, Any]) -> str | None:
    """What the class says against the settings, if anything."""
    try:
        made(cls, settings)
    except Exception as error:  # whatever the library raises is a complaint about a value
        return str(error) or type(error).__name__
    return None


def made(cls: Any, settings: Mapping[str, Any]) -> Any:
    """A dataclass of the settings, such as SFTConfig, as it can be made where no trial runs.

    What only the trial's device can tell is left to the trial. Raises whatever the library raises.
    """
    here = {"use_cpu": True, "bf16": False, "fp16": False, "tf32": None, "report_to": "none", "output_dir": "unused"}
    names = {field for field in here if field in cls.__dataclass_fields__}
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():  # a deprecated setting still does what it says
            warnings.simplefilter("ignore")
            return cls(**{**settings, **{key: here[key] for key in names}})
    finally:  # some settings are handed on to other libraries in it
        for key in os.environ.keys() - environment.keys():
            del os.environ[key]
        os.environ.update(environment)


def _blamed(cls: Any, settings: Mapping[str, Any]) -> list[str]:
    """The settings that are refused even alone, else those without which the rest is taken."""
    alone = [key for key, value in settings.items() if _refusal(cls, {key: value})]
    return alone or [
        key for key in settings if not _refusal(cls, {one: value for one, value in settings.items() if one != key})
    ]


def check_machine(config: "SweepConfig", devices: int) -> list[str]:
    """What this machine cannot do: `devices` is how many CUDA devices it has. A cluster is asked when it is joined."""
    found = []
    gpus = config.gpus_per_trial or 0
    here = not config.address and not os.environ.get("RAY_ADDRESS")
    if here and gpus > devices:
        found.append(
            f"--gpus_per_trial {gpus:g}: this machine has {devices} GPUs. Give 0 to train on the CPU, or --address of a cluster."
        )
    cores = os.cpu_count() or 1
    if here and config.cpus_per_trial > cores:
        found.append(f"--cpus_per_trial {config.cpus_per_trial:g}: this machine has {cores} cores. Give at most that.")
    found += check_address(config.address or os.environ.get("RAY_ADDRESS") or "local")
    found += check_writable(config.location)
    return found


def machine(config: "SweepConfig", devices: int) -> Machine:
    """What a trainable is told of it; `devices` as above."""
    here = not config.address and not os.environ.get("RAY_ADDRESS")
    if config.gpus_per_trial == 0:
        return Machine(here, "--gpus_per_trial 0 trains on the CPU")
    nowhere = here and not devices and not config.dry_run  # which may be made for another machine
    return Machine(here, "this machine has no CUDA device" if nowhere else None)


def check_address(address: str) -> list[str]:
    """Whether something listens at a cluster's address. Ray itself would try for ten minutes."""
    if address in ("local", "auto"):
        return []
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        return [f"--address: expected HOST:PORT of a Ray cluster, or auto, got {address!r}."]
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        return [
            f"--address (or RAY_ADDRESS): no Ray cluster answers at {address!r}: {reason(error)}. "
            "Start one with `ray start --head`, or leave it out to use this machine."
        ]
    return []


def check_writable(location: str) -> list[str]:
    """Whether the sweep's folder can be made and written."""
    import pyarrow.fs as pafs

    from sweep.store.store import filesystem

    if redact.has_credentials(location):
        return [
            "--storage_path: the URI holds credentials, which would end up in results and logs. Leave them out of it and set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the store's own) in the environment."
        ]
    if "://" in location and "?" in location:
        return [
            "--storage_path: a URI with ?options cannot hold a sweep. Leave them out; AWS_ENDPOINT_URL names another server."
        ]
    try:
        fs, path = filesystem(location)
        if fs.type_name != "local":
            bucket = path.split("/")[0]
            if fs.get_file_info(bucket).type == pafs.FileType.NotFound:
                raise FileNotFoundError(f"there is no {bucket}")
            return []
        folder = Path(path)
        if any(len(os.fsencode(part)) > 255 for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        while not os.path.lexists(folder):
            folder = folder.parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return []
        reason_ = (
            "it cannot be written"
            if folder.is_dir()
            else f"{folder} is {'a file' if folder.is_file() else 'no folder'}"
        )
    except StoreError as error:
        return [f"--storage_path: {error}"]
    except (OSError, ValueError) as error:
        reason_ = reason(error)
    return [
        f"--storage_path: {redact.urls(location)} cannot hold a sweep: {reason_}. Give a folder that you may write, "
        "or a URI such as s3://bucket/folder."
    ]
