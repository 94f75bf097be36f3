"""What values trainer settings can have that their types do not say, and that would only show once trials run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.config.fields import nearest, shown
from sweep.space import Trial

# least, most, and those of the two that are themselves left out
_RANGES: dict[str, tuple[float, float, tuple[float, ...]]] = {
    "per_device_train_batch_size": (1, math.inf, ()),
    "per_device_eval_batch_size": (1, math.inf, ()),
    "gradient_accumulation_steps": (1, math.inf, ()),
    "max_length": (2, math.inf, ()),
    "num_train_epochs": (0, math.inf, (0,)),
    "learning_rate": (0, math.inf, ()),
    "weight_decay": (0, math.inf, ()),
    "max_grad_norm": (0, math.inf, ()),
    "warmup_steps": (0, math.inf, ()),
    "save_steps": (0, math.inf, (0,)),
    "eval_steps": (0, math.inf, (0,)),
    "lora_alpha": (0, math.inf, (0,)),
    "lora_dropout": (0, 1, (1,)),
    "dataset_num_proc": (1, math.inf, ()),
    "dataloader_num_workers": (0, math.inf, ()),
}
# Keys of model_init_kwargs that would undo what keeps a model from running or unpickling anything.
_GUARDED = {
    "trust_remote_code": "it has a flag of its own, --trust_remote_code",
    "use_safetensors": "a trial reads safetensors only",
    "weights_only": "a trial reads safetensors only",
    "token": "set HF_TOKEN in the environment instead",
    "device_map": "a trial has one device, and the whole model is loaded there",
}
# Settings that a sweep refuses where they are on.
_REFUSED = {
    "auto_find_batch_size": "each trial would settle on a batch size of its own, and their losses would not compare. "
    "--on_oom shrink trains one that ran out of memory again, with half the micro-batch accumulated twice",
    "push_to_hub": "every trial would push to the same repository. Afterwards push the one that you choose: "
    "`hf upload USER/NAME FOLDER`, FOLDER being the `checkpoint` of its trial row, below the sweep's folder",
}


def complaints(trials: Sequence[Trial], where: Mapping[str, str]) -> list[str]:
    """All that is wrong with the trials' settings, each thing once. `where` has a setting's name as the user wrote it."""
    found: dict[str, None] = {}
    for trial in trials:
        for text in (
            *_out_of_range(trial.settings, where),
            *_steps(trial.settings, where),
            *_targets(trial.settings, where),
            *_guarded(trial.settings, where),
            *_refused(trial.settings, where),
            *_trackers(trial.settings, where),
            *_padding_free(trial.settings, where),
        ):
            found[text] = None
    return list(found)


def _named(key: str, where: Mapping[str, str]) -> str:
    return where.get(key, f"--{key}")


def _out_of_range(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    found = []
    for key, (least, most, left_out) in _RANGES.items():
        value = settings.get(key)
        if not isinstance(value, int | float) or (least <= value <= most and value not in left_out):
            continue
        bounds = f"{'above' if least in left_out else 'at least'} {least:g}"
        upper = "" if most == math.inf else f" and {'below' if most in left_out else 'at most'} {most:g}"
        found.append(f"{_named(key, where)}: must be {bounds}{upper}, got {value:g}.")
    return found


def _steps(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    steps = settings.get("max_steps", -1)
    if not isinstance(steps, int) or steps >= 1 or steps == -1:
        return []
    return [f"{_named('max_steps', where)}: must be at least 1, or -1 to train for num_train_epochs, got {steps}."]


def _targets(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    targets = settings.get("lora_target_modules")
    if not isinstance(targets, list) or "all-linear" not in targets or len(targets) == 1:
        return []
    others = " ".join(str(one) for one in targets if one != "all-linear")
    name = _named("lora_target_modules", where)
    return [f"{name}: all-linear stands alone, got it with {others}. Give all-linear, or name every module."]


def _guarded(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    given, name = settings.get("model_init_kwargs"), _named("model_init_kwargs", where)
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [f"{name}: expected a mapping such as {{attn_implementation: sdpa}}, got {shown(given)}."]
    return [f"{name}: {key} is not to be set here: {why}." for key, why in _GUARDED.items() if key in given]


def _refused(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    return [f"{_named(key, where)}: not in a sweep: {why}." for key, why in _REFUSED.items() if settings.get(key)]


def _padding_free(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    """The batch as one long sequence: TRL supports it with flash attention alone, and does not look."""
    given = settings.get("model_init_kwargs")
    inside = given.get("attn_implementation") if isinstance(given, Mapping) else None
    chosen = str(inside or settings.get("attn_implementation") or "sdpa")
    if not settings.get("padding_free") or "flash" in chosen:
        return []
    return [
        f"{_named('padding_free', where)}: works with flash attention only, got {chosen}. Add --attn_implementation "
        "kernels-community/flash-attn2 (or flash_attention_2), or leave it out."
    ]


def _trackers(settings: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    given = settings.get("report_to")
    names = given if isinstance(given, list) else [given]
    if not names or names in ([None], ["none"], ["all"]):
        return []
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK as KNOWN
    from transformers.integrations.integration_utils import get_available_reporting_integrations as installed

    name, found = _named("report_to", where), []
    for one in names:
        if not isinstance(one, str) or one not in KNOWN:
            found.append(
                f"{name}: no such tracker as {shown(one)}; give none, all, or some of {', '.join(sorted(KNOWN))}."
            )
            found[-1] += nearest(str(one), KNOWN)
        elif one not in installed():
            found.append(f"{name}: {one} is not installed. Install its package, or leave it out.")
    return found
