"""Checks values beyond their types: the sweep's own, and the trainer's where an error would only show in a trial."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sweep.config.coercion import as_text, coerce
from sweep.config.fields import nearest
from sweep.config.flags import Flag, Range
from sweep.config.sweep_config import SweepConfig
from sweep.contract.cards import card
from sweep.errors import Complaint, ConfigError, Problem
from sweep.space import FULL, REFERENCE_RANK, Trial, is_lora_setting

RANGES = {
    "per_device_train_batch_size": Range(least=1),
    "per_device_eval_batch_size": Range(least=1),
    "gradient_accumulation_steps": Range(least=1),
    "max_length": Range(least=2),
    "num_train_epochs": Range(above=0),
    "learning_rate": Range(least=0),
    "weight_decay": Range(least=0),
    "max_grad_norm": Range(least=0),
    "warmup_steps": Range(least=0),
    "save_steps": Range(above=0),
    "eval_steps": Range(above=0),
    "lora_alpha": Range(above=0),
    "lora_dropout": Range(least=0, below=1),
    "dataset_num_proc": Range(least=1),
    "dataloader_num_workers": Range(least=0),
}
# Keys of model_init_kwargs that would let a model run or unpickle code.
_GUARDED = {
    "trust_remote_code": "it has a flag of its own, --trust_remote_code",
    "use_safetensors": "a trial reads safetensors only",
    "weights_only": "a trial reads safetensors only",
    "token": "set HF_TOKEN in the environment instead",
    "device_map": "a trial has one device, and the whole model is loaded there",
}
# Settings that a sweep refuses if they are on.
_REFUSED = {
    "auto_find_batch_size": "each trial would settle on a batch size of its own, and their losses would not compare. "
    "--on_oom shrink trains one that ran out of memory again, with half the micro-batch accumulated twice",
    "push_to_hub": "every trial would push to the same repository. Afterwards push the one that you choose: "
    "`python -m sweep.export FOLDER --push_to_hub USER/NAME`, FOLDER being the sweep's",
}

Settings = Mapping[str, Any]


def usable(flag: Flag, value: Any, complaints: list[Problem]) -> Any:
    """A flag's value, or the usable ones of several values; what the flag's declaration refuses becomes a complaint."""
    if flag.many:
        values, wrong = _usable_ones(flag, value)
        complaints += [Complaint(flag.name, text) for text in wrong]
        return values or flag.default[:1]
    if flag.choices and value not in flag.choices:
        expected = f"expected one of {', '.join(flag.choices)}, got {value!r}.{nearest(str(value), flag.choices)}"
        complaints.append(Complaint(flag.name, f": {expected}"))
    elif isinstance(value, int | float) and value not in flag.within:
        complaints.append(Complaint(flag.name, _out_of(flag.within, value) + f" {flag.beyond}".rstrip()))
    return value


def _usable_ones(flag: Flag, words: Sequence[Any]) -> tuple[tuple[Any, ...], list[str]]:
    values: list[Any] = []
    bad, wrong = [], []
    for word in words:
        try:
            values.append(_one(flag, word))
        except ValueError:
            text = word if isinstance(word, str) else as_text(word)
            bad.append(text if re.fullmatch(r"[!-~]+", text) else repr(text))
    if bad:
        wrong.append(f": {', '.join(bad)} cannot be used: give {_kind(flag)}, as in --{flag.name} {flag.example}.")
    if not words and flag.default:
        wrong.append(f": no value is given. Give {_kind(flag)}, as in --{flag.name} {flag.example}.")
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        wrong.append(f": {twice[0]} appears twice. Name each once.")
    return tuple(dict.fromkeys(values)), wrong


def _one(flag: Flag, word: Any) -> Any:
    """One of several values. Raises ValueError where it cannot be used."""
    if word in flag.choices:
        return word
    value = coerce(word, flag.element)
    if isinstance(value, int | float) and value not in flag.within:
        raise ValueError
    return value


def _kind(flag: Flag) -> str:
    """What a flag's values are, in words for users."""
    numbers = {int: "whole numbers", float: "numbers"}.get(flag.element, "words")
    bounds = "" if flag.within == Range() else f" from {flag.within.least} to {flag.within.most}"
    return f"{numbers}{bounds}{''.join(f', or `{word}`' for word in flag.choices)}"


def of_flags(config: SweepConfig, required: Sequence[str]) -> list[Problem]:
    """What is wrong with the sweep's own settings in combination, and which required settings are missing."""
    rules = (_names(config), _missing(config, required), _stopping(config), _card(config), _lora(config), _said(config))
    return [problem for rule in rules for problem in rule]


def _names(config: SweepConfig) -> Iterator[Complaint]:
    if re.fullmatch(r"(\w+:/*)?", config.storage_path):
        yield Complaint(
            "storage_path", f": expected a folder, or a URI such as s3://bucket/folder, got {config.storage_path!r}."
        )
    given = config.source("name") != "default"
    if given and not re.fullmatch(r"[\w][\w.-]{0,99}", config.name):
        yield Complaint(
            "name",
            f" {config.name!r}: use up to 100 letters, digits, dots, dashes and underscores; "
            "the folder goes into --storage_path.",
        )


def _missing(config: SweepConfig, required: Sequence[str]) -> Iterator[Complaint]:
    for key in required:
        mixed = key == "dataset_name" and (config.settings.get("datasets") or "datasets" in config.grid)
        if not (mixed or config.settings.get(key) or all(config.grid.get(key, [None]))):
            yield Complaint(key, " is missing: name one, or start from --preset demo.")


def _stopping(config: SweepConfig) -> Iterator[Complaint]:
    grace, end = config.asha_grace_period, config.asha_max_t
    if end is not None and grace > end:
        yield Complaint(
            "asha_grace_period", f": {grace} is above --asha_max_t {end}, so nothing would be stopped early."
        )


def _card(config: SweepConfig) -> Iterator[Problem]:
    try:
        named = card(config.gpu, config.gpu_memory_gb)
    except ConfigError as error:
        yield from error.complaints
        return
    if named is not None and config.gpus_per_trial == 0:
        key = "gpu" if config.gpu else "gpu_memory_gb"
        yield Complaint(key, ": names a card, and --gpus_per_trial 0 trains without one. Leave one of the two out.")


def _said(config: SweepConfig) -> Iterator[Complaint]:
    if config.quiet and config.verbose:
        yield Complaint("quiet", ": contradicts --verbose. Give one of the two.")


def _lora(config: SweepConfig) -> Iterator[Complaint]:
    mine = [key for key in (*config.settings, *config.grid) if is_lora_setting(key)]
    asked = [key for key in (*mine, "lora_alpha_rule") if not config.source(key).startswith(("preset ", "default"))]
    if "use_peft" in config.sources:  # a file that says false: as in TRL, its LoRA settings may stand there
        asked = [key for key in asked if config.source(key) != config.source("use_peft")]
    if list(config.lora_r) == [FULL] and asked:
        first, *others = dict.fromkeys(asked)
        also = "".join(f", {config.written(key)}" for key in others)
        yield Complaint(
            first,
            f"{also}: has no effect, since every trial is full fine-tuning. Leave it out, or add a rank to --lora_r.",
        )
    if config.lora_alpha_rule == "rslora" and config.settings.get("use_rslora") is False:
        yield Complaint("use_rslora", " false contradicts --lora_alpha_rule rslora. Give one of the two.")
    if config.lora_alpha_rule == "proportional" and "lora_alpha" in config.grid:
        yield Complaint(
            "lora_alpha",
            ": under --lora_alpha_rule proportional alpha follows the rank "
            f"(lora_alpha/{REFERENCE_RANK} per rank). Use --lora_alpha_rule fixed.",
        )


def of_trials(trials: Sequence[Trial]) -> list[Problem]:
    """What is wrong with the trials' settings, without duplicates."""
    return list(dict.fromkeys(problem for trial in trials for rule in _RULES for problem in rule(trial.settings)))


def _out_of(within: Range, value: float) -> str:
    return f": must be {within}, got {value:g}."


def _out_of_range(settings: Settings) -> Iterator[Complaint]:
    for key, within in RANGES.items():
        value = settings.get(key)
        if isinstance(value, int | float) and value not in within:
            yield Complaint(key, _out_of(within, value))


def _steps(settings: Settings) -> Iterator[Complaint]:
    steps = settings.get("max_steps", -1)
    if isinstance(steps, int) and steps < 1 and steps != -1:
        yield Complaint("max_steps", f": must be at least 1, or -1 to train for num_train_epochs, got {steps}.")


def _targets(settings: Settings) -> Iterator[Complaint]:
    targets = settings.get("lora_target_modules")
    if isinstance(targets, list) and "all-linear" in targets and len(targets) > 1:
        others = " ".join(str(one) for one in targets if one != "all-linear")
        yield Complaint(
            "lora_target_modules",
            f": all-linear stands alone, got it with {others}. Give all-linear, or name every module.",
        )


def _guarded(settings: Settings) -> Iterator[Complaint]:
    key = "model_init_kwargs"
    given = settings.get(key)
    if isinstance(given, Mapping):
        for name, why in _GUARDED.items():
            if name in given:
                yield Complaint(key, f": {name} cannot be set here: {why}.")
    elif given is not None:
        yield Complaint(key, f": expected a mapping such as {{attn_implementation: sdpa}}, got {as_text(given)}.")


def _refused(settings: Settings) -> Iterator[Complaint]:
    for key, why in _REFUSED.items():
        if settings.get(key):
            yield Complaint(key, f": not in a sweep: {why}.")


def _padding_free(settings: Settings) -> Iterator[Complaint]:
    """Padding-free batches: TRL supports them with flash attention only, and does not check."""
    given = settings.get("model_init_kwargs")
    inside = given.get("attn_implementation") if isinstance(given, Mapping) else None
    chosen = str(inside or settings.get("attn_implementation") or "sdpa")
    if settings.get("padding_free") and "flash" not in chosen:
        yield Complaint(
            "padding_free",
            f": works with flash attention only, got {chosen}. Add --attn_implementation "
            "kernels-community/flash-attn2 (or flash_attention_2), or leave it out.",
        )


def _quantized(settings: Settings) -> Iterator[Complaint]:
    """Quantized weights cannot be trained: the trainer refuses them, in every trial, once they are loaded."""
    for key in ("load_in_4bit", "load_in_8bit"):
        if settings.get(key) and "lora_r" not in settings:
            yield Complaint(key, f": works with LoRA only, and a trial is full fine-tuning. Leave {FULL} or this out.")


def _trackers(settings: Settings) -> Iterator[Complaint]:
    given = settings.get("report_to")
    names = given if isinstance(given, list) else [given]
    if not names or names in ([None], ["none"], ["all"]):
        return
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK as KNOWN
    from transformers.integrations.integration_utils import get_available_reporting_integrations as installed

    for name in names:
        if not isinstance(name, str) or name not in KNOWN:
            known = f"give none, all, or some of {', '.join(sorted(KNOWN))}.{nearest(str(name), KNOWN)}"
            yield Complaint("report_to", f": unrecognized tracker {as_text(name)}; {known}")
        elif name not in installed():
            yield Complaint("report_to", f": {name} is not installed. Install its package, or leave it out.")


_RULES: tuple[Callable[[Settings], Iterator[Complaint]], ...] = (
    _out_of_range,
    _steps,
    _targets,
    _guarded,
    _refused,
    _trackers,
    _padding_free,
    _quantized,
)
