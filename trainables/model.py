"""A trial's base model: checks before it is loaded, how it is loaded, and its adapter."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sweep.common.formatting import sentence
from sweep.common.names import Resolve, exists_locally
from sweep.common.provenance import remembered_fingerprint
from sweep.errors import Complaint, ConfigError
from sweep.space import Trial, is_lora_setting

WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def complaints(trials: Sequence[Trial], resolve: Resolve, with_weights: bool = True) -> list[Complaint]:
    """Everything that is wrong with the trials' models; each model is checked once, and no weights are loaded.

    Args:
        with_weights: whether a local folder must have weights; a prediction needs the configuration only.
    """
    found: list[Complaint] = []
    looked: dict[str, Any] = {}
    adapters: set[tuple[str, str]] = set()
    for trial in trials:
        name = str(trial.settings.get("model_name_or_path") or "")
        if not name:
            continue
        key = named(trial.settings)
        if key not in looked:
            looked[key] = skeleton(name, trial.settings, resolve, with_weights)
        if isinstance(looked[key], Complaint):
            found.append(looked[key])
            continue
        found += _attention_complaints(looked[key], name, trial.settings)
        wrong = _target_complaints(looked[key], name, trial.settings)
        kind = (key, repr({key: value for key, value in trial.settings.items() if _shapes_the_adapter(key)}))
        if "lora_r" in trial.settings and not wrong and kind not in adapters:
            wrong = _adapter_complaints(name, trial.settings, resolve)
            adapters.add(kind)
        found += wrong
    return list(dict.fromkeys(found))


def skeleton(name: str, settings: Mapping[str, Any], resolve: Resolve, with_weights: bool = True) -> Any:
    """The model's configuration, or what is wrong with its name."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    path, there = Path(resolve(name)), exists_locally(resolve(name))
    key = "model_name_or_path"
    if there and not (path / "config.json").is_file():
        inside = "it is a file" if path.is_file() else "there is no config.json in it"
        return Complaint(
            key, f" {name}: no model folder: {inside}. Give a folder made by save_pretrained, or a Hub name."
        )
    if not there and looks_like_a_path(name):
        return Complaint(key, f" {name}: there is no such folder. Correct the path.")
    remote = bool(settings.get("trust_remote_code", False))
    try:
        config = AutoConfig.from_pretrained(resolve(name), revision=revision(settings), trust_remote_code=remote)
        wrong = weights_complaint(path) if there and with_weights else None
        if wrong:
            return Complaint(key, f" {name}: {wrong}")
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=remote)
    except Exception as error:  # the loaders have no common base
        return Complaint(key, f" {name}: {_why(name, there, error)}")


def looks_like_a_path(name: str) -> bool:
    """Whether a name that does not exist can only have been meant as a path."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _why(name: str, there: bool, error: Exception) -> str:
    """What is wrong with a model that was found, or why none was: the loaders raise OSError for the latter."""
    return _unreachable(name, error) if isinstance(error, OSError) and not there else _unusable(error)


def _unusable(error: Exception) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return "it contains its own code, which is not run. If you have read it and trust it: --trust_remote_code."
    if "Unrecognized configuration class" in text:
        return "it is not a causal language model. Give a model that continues text."
    return (
        f"no causal language model can be made of it: {sentence(text, 300)} Fix its config.json, or give another model."
    )


def _unreachable(name: str, error: Exception) -> str:
    return (
        f"neither a folder here nor a model that can be reached ({sentence(error, 300)[:-1]}). Offline: give a folder made by "
        "save_pretrained; or fill the cache where there is a network (`hf download "
        f"{name}`), copy it here and set HF_HOME to it; or set HF_ENDPOINT to a mirror."
    )


def weights_complaint(folder: Path) -> str | None:
    """What is wrong with the weights in a folder, or None if all safetensors files are there and complete. Reads headers only."""
    again = "Save the model again with save_pretrained, or copy it again."
    if (folder / SINGLE).is_file():
        return None if is_whole(folder / SINGLE) else f"{SINGLE} is cut off or not a safetensors file. {again}"
    if (folder / INDEX).is_file():
        shards = _shards(folder / INDEX)
        if not shards:
            return f"{INDEX} names no weights. {again}"
        broken = [name for name in shards if not is_whole(folder / name)]
        return f"{', '.join(broken[:3])}: missing or cut off. {again}" if broken else None
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        return (
            "its weights are pickled only, which can run code when they are read. "
            "Load the model where you trust it and save it with save_pretrained: that makes safetensors."
        )
    return "the folder has a config.json but no weights. Save the model with save_pretrained."


def is_whole(path: Path) -> bool:
    """Whether a safetensors file exists and is as long as its header says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= size - 8:
                return False
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return False
    return bool(max(ends, default=0) + 8 + length == size)


def _shards(index: Path) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _target_complaints(model: Any, name: str, settings: Mapping[str, Any]) -> list[Complaint]:
    """Checks that the model has LoRA's target modules."""
    targets = settings.get("lora_target_modules")
    if not targets or "lora_r" not in settings:
        return []
    from peft.tuners.tuners_utils import check_target_module_exists

    wanted = targets if isinstance(targets, list) else [targets]
    if "all-linear" in wanted:
        return []
    alone = len(wanted) == 1 and not is_name(wanted[0])
    if alone and (wrong := _pattern_complaint(wanted[0])):
        return [wrong]
    modules = [module for module, _ in model.named_modules() if module]
    missing = [
        one for one in wanted if not any(check_target_module_exists(_Targets(one, alone), module) for module in modules)
    ]
    if not missing:
        return []
    import torch

    linear = {
        module.rsplit(".", 1)[-1]
        for module, kind in model.named_modules()
        if isinstance(kind, torch.nn.Linear) or "Conv1D" in type(kind).__name__
    }
    head = {"lm_head"}
    return [
        Complaint(
            "lora_target_modules",
            f" {' '.join(missing)}: {name} has no such module. "
            f"It has: {', '.join(sorted(linear - head))}; or give all-linear.",
        )
    ]


def _attention_complaints(model: Any, name: str, settings: Mapping[str, Any]) -> list[Complaint]:
    """Checks that the model has the requested attention. Those of packages and kernels are checked elsewhere."""
    given = settings.get("model_init_kwargs")
    inside = given.get("attn_implementation") if isinstance(given, Mapping) else None
    chosen = inside or settings.get("attn_implementation")
    if not isinstance(chosen, str) or "/" in chosen or chosen.startswith("flash_attention_"):
        return []
    try:
        model.get_correct_attn_implementation(chosen, is_init_check=True)
    except ValueError as error:
        return [Complaint("attn_implementation", f" {chosen}: {name} cannot be loaded with it: {sentence(error, 300)}")]
    return []


def _shapes_the_adapter(key: str) -> bool:
    return is_lora_setting(key) and key not in ("lora_r", "lora_alpha", "lora_dropout")


def _adapter_complaints(name: str, settings: Mapping[str, Any], resolve: Resolve) -> list[Complaint]:
    """The errors that PEFT and TRL raise for the adapter, tried on the model without its weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    try:
        network = with_adapter(skeleton(name, settings, resolve, with_weights=False), settings)
    except RuntimeError:  # missing weights may be the only thing wrong
        return []
    except Exception as error:  # many types, depending on which LoRA settings are wrong
        return [
            Complaint(
                "lora_r", f": no adapter can be put on {name} with the other LoRA settings: {sentence(error, 300)}"
            )
        ]
    if isinstance(network.get_output_embeddings(), BaseTunerLayer):
        return [
            Complaint(
                "lora_target_modules",
                f" {' '.join(settings['lora_target_modules'])}: that takes in the output layer, where an "
                "adapter would never be trained, since TRL's loss reads that layer's own weight. Name other modules, or give "
                "all-linear, which leaves it out.",
            )
        ]
    return []


def is_name(target: str) -> bool:
    """Whether a single target module is a module's name or its end, rather than a pattern for full names."""
    return re.fullmatch(r"[\w.]+", target) is not None


def _pattern_complaint(pattern: str) -> Complaint | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return Complaint(
            "lora_target_modules",
            f" {pattern!r} is neither a module's name nor a regular expression: {error.msg}. "
            "Name modules, as in q_proj v_proj, or give all-linear.",
        )
    return None


class _Targets:
    """The part of a LoraConfig that PEFT's module matching reads: a string is a pattern, an element of a set a name."""

    def __init__(self, target: str, alone: bool) -> None:
        self.target_modules: Any = target if alone else {target}
        self.exclude_modules = None
        self.layers_to_transform = None
        self.layers_pattern = None


def named(settings: Mapping[str, Any]) -> str:
    """The model as the user names it, with its revision unless that is the default."""
    branch = revision(settings)
    return str(settings["model_name_or_path"]) + (f"@{branch}" if branch != "main" else "")


def commit(settings: Mapping[str, Any], resolve: Resolve) -> str | None:
    """The commit that a Hub model's revision points to now; offline, the one in the cache. None for a local folder.

    Raises:
        ConfigError: neither the Hub nor the cache has it.
    """
    name = str(settings["model_name_or_path"])
    if Path(resolve(name)).is_dir():
        return None
    from huggingface_hub import hf_hub_download

    try:
        found = hf_hub_download(name, "config.json", revision=revision(settings), dry_run=True)
    except Exception as error:  # the Hub's client has no common base class
        raise ConfigError([Complaint("model_name_or_path", f" {name}: {_unreachable(name, error)}")]) from error
    return str(found.commit_hash)


def pinned(settings: Mapping[str, Any], to: str | None) -> Mapping[str, Any]:
    """The settings with a commit as the model's revision: a branch may move before the last trial has loaded it."""
    if to is None:
        return settings
    given = settings.get("model_init_kwargs") or {}
    return {**settings, "model_revision": to, "model_init_kwargs": {**given, "revision": to}}


def revision(settings: Mapping[str, Any]) -> str:
    given = settings.get("model_init_kwargs")
    own = (
        given.get("revision") if isinstance(given, Mapping) else None
    )  # a string that is not a mapping is refused elsewhere
    return str(own or settings.get("model_revision") or "main")


def model_fingerprint(settings: Mapping[str, Any], resolve: Resolve) -> str:
    """Content hash of a local model folder; a Hub model with `pinned` settings is identified by name and commit."""
    path = Path(resolve(str(settings["model_name_or_path"])))
    if not path.is_dir():
        return f"{settings['model_name_or_path']}@{revision(settings)}"
    patterns = ("config.json", *WEIGHTS, *(["*.py"] if settings.get("trust_remote_code") else []))
    return remembered_fingerprint([file for pattern in patterns for file in path.glob(pattern)])


def model_config(settings: Mapping[str, Any]) -> Any:
    """A trial's ModelConfig, as TRL's."""
    from trl import ModelConfig

    known = {field.name for field in fields(ModelConfig) if field.init}
    chosen = {key: value for key, value in settings.items() if key in known}
    made = ModelConfig(**chosen, use_peft="lora_r" in settings)
    if isinstance(made.lora_target_modules, str) and is_name(made.lora_target_modules):
        made.lora_target_modules = [
            made.lora_target_modules
        ]  # TRL turns a single one into a pattern, which no module matches
    return made


def with_adapter(network: Any, settings: Mapping[str, Any]) -> Any:
    """The network with the adapter that a trial with these settings trains."""
    from peft import get_peft_model
    from trl import get_peft_config

    with warnings.catch_warnings():  # about names that PEFT uses and transformers deprecates
        warnings.simplefilter("ignore")
        return get_peft_model(network, get_peft_config(model_config(settings)))


def init_kwargs(settings: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The keyword arguments that the model is loaded with, as in TRL's own SFT script; safetensors only.

    `device` is the trial's `torch.device`. An accelerator is named explicitly: TRL's default, "auto", goes by free memory, so
    on a shared card a neighbor's use could push layers to the host.
    """
    chosen = model_config(settings)
    given = settings.get("model_init_kwargs") or {}
    return {
        "revision": chosen.model_revision,
        "attn_implementation": chosen.attn_implementation,
        "dtype": chosen.dtype,
        "use_safetensors": True,
        "device_map": None if device.type in ("cpu", "mps") else {"": str(device)},  # where TRL has "auto"
        **given,
    }
