"""What a YAML file written for `trl sft` says, in a sweep's words.

TRL's script trains once, and a sweep decides some of its settings itself. Of those, the ones with a meaning in a sweep are
translated (`seed`, `use_peft`, `output_dir`, `env`), the ones that change no loss are left out with a note, and the rest are
left for the reader to refuse.
"""

import os
from collections.abc import Mapping
from typing import Any

from sweep.config.coercion import coerce
from sweep.config.fields import RESERVED
from sweep.errors import written
from sweep.space import FULL

ENV = "env"
_ONLY_IF_ON = ("streaming", "dataset_streaming", "deepspeed", "fsdp")  # refused, unless they are off
# Left out with a note: every trial logs, evaluates and resumes in its own way, and one is pushed once it is chosen.
_NOT_USED = {
    key: RESERVED[key]
    for key in (
        *("logging_steps", "logging_strategy", "logging_first_step", "logging_nan_inf_filter"),
        *("do_train", "do_eval", "do_predict", "eval_packing", "resume_from_checkpoint", "dataset_kwargs"),
    )
} | {
    "push_to_hub": "every trial would push to the same repository. Afterwards push the one that you choose: "
    "`python -m sweep.export FOLDER --push_to_hub USER/NAME`"
}


def translated(raw: Mapping[str, Any], file: str) -> tuple[dict[str, Any], list[str]]:
    """The settings of a file under a sweep's names, and notes on those that are not used. `env` is left out: see `environment`."""
    kept = {key: value for key, value in raw.items() if key not in _NOT_USED and not _asks_nothing(key, value)}
    unused = {key: why for key, why in _NOT_USED.items() if raw.get(key) not in (None, False)}
    notes = [f"{written(key, file)} is not used: {why}." for key, why in unused.items()]
    if kept.get("datasets") and kept.pop("dataset_name", None):
        notes.append(f"{written('dataset_name', file)} is not used: the file has datasets, which TRL prefers, too.")
    if isinstance(kept.get(ENV), dict):
        del kept[ENV]
    if "seeds" not in kept and "seed" in kept:
        kept["seeds"] = kept.pop("seed")
    if (peft := _truth(kept.get("use_peft"))) is not None:
        del kept["use_peft"]
        kept |= {} if peft else {"lora_r": FULL}
    return _with_folder(kept), notes


def says_full(raw: Mapping[str, Any]) -> bool:
    """Whether a file asks for full fine-tuning as TRL does: its LoRA settings then have no effect, and none is expected."""
    return _truth(raw.get("use_peft")) is False


def environment(raw: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that a file sets.

    Raises:
        ValueError: some of them cannot be set; the message says what was expected.
    """
    given = raw.get(ENV)
    if not isinstance(given, dict):
        return {}
    found = {name: str(value) for name, value in given.items()}
    if not all(map(_can_be_set, found.items())) or any(isinstance(value, dict | list) for value in given.values()):
        raise ValueError("names and values, as in {CUDA_VISIBLE_DEVICES: 0}")
    return found


def _can_be_set(variable: tuple[Any, str]) -> bool:
    name, value = variable
    try:
        os.fsencode(f"{name}{value}")
    except UnicodeEncodeError:  # half a character
        return False
    return isinstance(name, str) and bool(name) and "=" not in name and "\0" not in f"{name}{value}"


def set_environment(variables: Mapping[str, str]) -> None:
    """Sets them for this process and those that it starts: the trials on this machine."""
    os.environ.update(variables)


def _asks_nothing(key: str, value: Any) -> bool:
    return key in RESERVED and (value is None or (key in _ONLY_IF_ON and not value))


def _truth(value: Any) -> bool | None:
    try:
        return bool(coerce(value, bool))
    except ValueError:
        return None


def _with_folder(settings: dict[str, Any]) -> dict[str, Any]:
    """`output_dir` as the sweep's folder: its parent and its name, unless the file names these itself."""
    given = settings.get("output_dir")
    if not isinstance(given, str):
        return settings
    parent, slash, name = given.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        return settings
    rest = {key: value for key, value in settings.items() if key != "output_dir"}
    return {"storage_path": parent or slash or ".", "name": name, **rest}
