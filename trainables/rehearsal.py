"""Finds what would make every trial fail when it builds its trainer, without building one: packages, schedules, precision."""

import importlib.util
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweep.common.formatting import sentence
from sweep.config.coercion import as_text
from sweep.config.configs import instantiate
from sweep.contract.trainable import Machine
from sweep.errors import Complaint
from sweep.space import Trial

_FLASH = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn",
}
_KERNEL = re.compile(r"[^/:]+/[^/:]+")  # the start of a kernel's name on the Hub
_TRAINER = (
    "eval_strategy",
    "learning_rate",
    "lr_scheduler_kwargs",
    "lr_scheduler_type",
    "max_steps",
    "optim",
    "optim_args",
    "optim_target_modules",
    "warmup_steps",
)
_MODEL = ("attn_implementation", "load_in_4bit", "load_in_8bit", "model_init_kwargs", "use_liger_kernel")
_MANY_STEPS = 1_000_000  # used if the number of steps is unknown: longer than any part of a schedule


def complaints(trials: Sequence[Trial], machine: Machine) -> list[Complaint]:
    """Each complaint once. A cluster's nodes may have packages that this machine lacks: there, the trials find out."""
    looked_at = [{key: one.settings[key] for key in (*_MODEL, *_TRAINER) if key in one.settings} for one in trials]
    distinct = {json.dumps(settings, sort_keys=True): settings for settings in looked_at}
    found: dict[Complaint, None] = {}
    for settings in distinct.values():
        found |= dict.fromkeys([*(_packages(settings) if machine.here else ()), *_trainer(settings, machine.here)])
    return [*(_precision(trials, machine.without_cuda) if machine.without_cuda else ()), *found]


def _precision(trials: Sequence[Trial], why: str) -> list[Complaint]:
    """Precisions that SFTConfig refuses if a trial has no CUDA device; bfloat16 is its default."""
    found = {}
    for trial in trials:
        given = trial.settings
        by_default = given.get("bf16") is None and not given.get("fp16")
        for key in ("bf16", "bf16_full_eval") if not given.get("use_cpu") else ():
            if given.get(key) or (key == "bf16" and by_default):
                found[key] = (
                    f": {'on by default, and ' if not given.get(key) else ''}{why}. "
                    f"Add --no_{key} to train in float32, or --use_cpu to train in bfloat16 on the CPU."
                )
        if given.get("tf32"):
            found["tf32"] = f": {why}. Leave it out."
    return [Complaint(key, text) for key, text in found.items()]


def _packages(settings: Mapping[str, Any]) -> Iterator[Complaint]:
    """Packages that the model's settings need and this machine lacks."""
    for key in ("load_in_4bit", "load_in_8bit"):
        if settings.get(key) and not _installed("bitsandbytes"):
            fix = "Install it (pip install bitsandbytes), or leave this out."
            yield Complaint(key, f": bitsandbytes is not installed. {fix}")
    if settings.get("use_liger_kernel") and not _installed("liger_kernel"):
        yield Complaint(
            "use_liger_kernel",
            ": liger-kernel is not installed. Install it (pip install liger-kernel), or leave this out.",
        )
    given = settings.get("model_init_kwargs") or {}
    if not isinstance(given, Mapping):
        return  # refused already
    if given.get("use_kernels") and not _installed("kernels"):
        yield Complaint(
            "model_init_kwargs", ": use_kernels needs kernels, which is not installed (pip install kernels)."
        )
    key = "model_init_kwargs" if "attn_implementation" in given else "attn_implementation"
    yield from _attention(key, str(given.get("attn_implementation") or settings.get("attn_implementation") or ""))


def _attention(key: str, name: str) -> Iterator[Complaint]:
    """transformers takes flash attention from its own package or, without compiling, from the Hub through `kernels`."""
    wanted = [_FLASH[name], "kernels"] if name in _FLASH else ["kernels"] if _KERNEL.match(name) else []
    if wanted and not any(map(_installed, wanted)):
        yield Complaint(
            key,
            f": {name} needs {' or '.join(wanted)}, which {'are' if len(wanted) > 1 else 'is'} not installed. "
            "Install one (pip install kernels needs no compiler), or give sdpa.",
        )


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _trainer(settings: Mapping[str, Any], here: bool) -> Iterator[Complaint]:
    """The errors that the trainer raises when it creates its optimizer and schedule."""
    from trl import SFTConfig

    try:
        args = instantiate(SFTConfig, {key: settings[key] for key in _TRAINER if key in settings})
    except Exception:  # reported by sweep.config.configs
        return
    optimizer = _optimizer(args) if here else None
    if optimizer:
        yield Complaint("optim", f" {as_text(settings.get('optim'))}: refused by the trainer: {sentence(optimizer)}")
    schedule = _schedule(args) if args.learning_rate >= 0 else None  # the other one was refused
    if schedule:
        key = "lr_scheduler_type" if settings.get("lr_scheduler_type") else "lr_scheduler_kwargs"
        yield Complaint(
            key,
            f" {as_text(settings.get(key))}: the schedule cannot be created: {sentence(schedule)} "
            "A schedule's arguments go into --lr_scheduler_kwargs, as in '{min_lr: 1e-6}'.",
        )


def _optimizer(args: Any) -> str | None:
    """What is wrong with the optimizer; usually, its package is missing."""
    from transformers import Trainer

    try:
        Trainer.get_optimizer_cls_and_kwargs(args)
    except (ImportError, ValueError) as error:
        wants_the_model = re.search(r"pass a `?model`? ", str(error))  # which does not exist yet
        return None if wants_the_model else str(error)
    return None


def _schedule(args: Any) -> str | None:
    """What is wrong with the schedule, tried on an optimizer of one number."""
    import torch
    from transformers import get_scheduler

    steps = args.max_steps if args.max_steps > 0 else _MANY_STEPS
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=max(0.0, args.learning_rate)
    )  # too small: reported elsewhere
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            get_scheduler(
                args.lr_scheduler_type, optimizer, args.get_warmup_steps(steps), steps, args.lr_scheduler_kwargs
            )
    except Exception as error:  # many types, depending on the schedule
        return re.sub(r"^\w+\(\) ", "", str(error))
    return None
