"""The names and types of a trainable's settings, read from the dataclasses that it declares.

Importing TRL takes seconds, so none of them is imported before a configuration is checked.
"""

import difflib
import functools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from sweep.config.coercion import Field
from sweep.contract.loading import load
from sweep.contract.trainable import Trainable
from sweep.errors import Complaint, ConfigError

_SHARDS = "a trial has one GPU, so there is nothing to shard. load_in_4bit makes room for a larger model"
# Settings that the sweep sets itself, and what to use instead.
RESERVED = {
    "output_dir": "the sweep's folder is set by --storage_path and --name",
    "seed": "use --seeds",
    "use_peft": "a rank in --lora_r means LoRA, `full` means full fine-tuning",
    "logging_steps": "every step is recorded",
    "logging_strategy": "every step is recorded",
    "logging_first_step": "every step is recorded",
    "logging_nan_inf_filter": "a loss that is not finite ends its trial as diverged",
    "resume_from_checkpoint": "run the same command again to resume",
    "do_train": "a trial always trains",
    "do_eval": "a trial always evaluates at its end",
    "do_predict": "a trial does not predict",
    "eval_packing": "held-out rows are never packed: each has its own loss",
    "dataset_kwargs": "rows are prepared once for all trials, and tokens are taken as they are; max_length none leaves them uncut",
    **dict.fromkeys(("deepspeed", "fsdp", "parallelism_config"), _SHARDS),
    "streaming": "a sweep reads its data once; streaming has no length to compare over",
    "dataset_streaming": "a sweep reads its data once; streaming has no length to compare over",
}


_ONE_GPU = "a trial has one GPU or a part of one, and is not started by accelerate"
# What `trl sft` hands on to `accelerate launch`: why it cannot be set for a trainable that has no such setting, and the value that
# asks for what a trial has anyway.
LAUNCHER: Mapping[str, tuple[str, Any]] = {
    "num_processes": (f"{_ONE_GPU}. For the batch of N processes, multiply gradient_accumulation_steps by N", 1),
    "num_machines": (_ONE_GPU, 1),
    "multi_gpu": (_ONE_GPU, False),
    "accelerate_config": (
        f"{_ONE_GPU}. load_in_4bit and activation_checkpointing make room for a larger model",
        "single_gpu",
    ),
    "mixed_precision": (f"{_ONE_GPU}. bf16 and fp16 set the precision", None),
    **dict.fromkeys(("config_file", "machine_rank", "main_process_port", "gpu_ids"), (_ONE_GPU, None)),
    **dict.fromkeys(("use_fsdp", "use_deepspeed"), (_ONE_GPU, False)),
    "env": ("it is a mapping of variables to values, as in {CUDA_VISIBLE_DEVICES: 0}, in a file of settings", None),
}
# What other tools call some settings.
ALIASES = {
    "rank": "lora_r",
    "ranks": "lora_r",
    "lora_rank": "lora_r",
    "model": "model_name_or_path",
    "dataset": "dataset_name",
    "data": "dataset_name",
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "steps": "max_steps",
    "max_seq_length": "max_length",
    "gpus": "gpus_per_trial",
}


def settings_of(kind: type[Trainable]) -> dict[str, Field]:
    """Every setting of a trainable, by name.

    Raises:
        ConfigError: a class that it declares cannot be imported.
    """
    own = {name: Field(name, hint, None, text) for name, (hint, text) in kind.SETTINGS.items()}
    return {**declared(kind.CONFIGS), **own}


@functools.cache
def declared(configs: tuple[str, ...]) -> dict[str, Field]:
    """Every field of some dataclasses, named as "module:name", by name.

    Raises:
        ConfigError: one of them cannot be imported, or is not a dataclass.
    """
    return {name: field for config in configs for name, field in _fields_of(config).items()}


def _fields_of(config: str) -> dict[str, Field]:
    try:
        cls = load(config)
        hints = typing.get_type_hints(cls)
        return {
            field.name: Field(field.name, hints[field.name], field.default, field.metadata.get("help", ""))
            for field in fields(cls)
            if field.init
        }
    except Exception as error:  # the module may be the user's: importing it may raise anything
        text = f": it declares {config} in CONFIGS, which is not a dataclass that can be imported: {error}"
        raise ConfigError([Complaint("trainable", text)]) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known name that `name` is an alias of, or else the closest one; "" if there is none."""
    known = list(known)
    alias = [ALIASES[name]] if ALIASES.get(name) in known else []
    close = alias or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""
