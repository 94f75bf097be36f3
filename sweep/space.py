"""Axes → trials. Pure: no files, no torch, no ray.

A trial's settings are one flat mapping under TRL's names. Its id is a function of them: the same trial has the same id in
every run, and a changed one gets another.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep import redact

Rank = int | Literal["full"]
AlphaRule = Literal["fixed", "proportional", "rslora"]

FULL: Literal["full"] = "full"
REFERENCE_RANK, REFERENCE_ALPHA = 16, 32  # TRL's defaults for lora_r and lora_alpha

# What is scored beside the held-out loss, on the model as it was before training and as it is afterwards.
SCORE_SETTINGS = ("eval_dataset_name", "eval_dataset_config", "eval_generation")
# How a trial is tracked, saved, scored or fed with data: no bit of what it computes depends on these, so changing them does not
# make a different trial. (dataloader_persistent_workers is not among them: persistent workers draw no new seed, so dropout
# differs from epoch 2 on.)
IGNORED_IN_TRIAL_ID = frozenset(
    {
        "report_to",
        "project",
        "trackio_space_id",
        "run_name",
        "log_level",
        "logging_dir",
        "save_strategy",
        "save_steps",
        "dataset_num_proc",
        "dataloader_num_workers",
        "dataloader_prefetch_factor",
        "dataloader_pin_memory",
        *SCORE_SETTINGS,
    }
)
_SELECTS_BEST = frozenset({"save_strategy", "save_steps"})  # the steps that load_best_model_at_end chooses from


def ignored_in_trial_id(settings: Mapping[str, Any]) -> frozenset[str]:
    """Settings that do not change what a trial with these settings computes."""
    return IGNORED_IN_TRIAL_ID - _SELECTS_BEST if settings.get("load_best_model_at_end") else IGNORED_IN_TRIAL_ID


@dataclass(frozen=True)
class Trial:
    """One training run. `settings` holds everything the trainable needs; `axes`, the values of the grid's further axes."""

    trial_id: str
    lora_r: int | None
    lora_alpha: float | None
    seed: int
    axes: Mapping[str, Any]
    settings: Mapping[str, Any]
    config_hash: str

    @property
    def method(self) -> Literal["lora", "full"]:
        return "full" if self.lora_r is None else "lora"

    @property
    def rank(self) -> Rank:
        return FULL if self.lora_r is None else self.lora_r

    def columns(self) -> dict[str, Any]:
        """The columns of a trial's row that are known before it runs."""
        return {
            "trial_id": self.trial_id,
            "method": self.method,
            "lora_r": self.lora_r,
            "lora_alpha": self.lora_alpha,
            "seed": self.seed,
            "config_hash": self.config_hash,
            "settings": json.dumps(redact.value(self.settings), sort_keys=True, ensure_ascii=False),
        }

    def axis_columns(self) -> dict[str, Any]:
        """The grid's further axes as column values: scalars as they are, the rest as JSON."""
        return {key: value if is_scalar(value) else json.dumps(value) for key, value in self.axes.items()}


def is_scalar(value: Any) -> bool:
    """Whether a value is a column of its own kind, rather than JSON."""
    return value is None or isinstance(value, str | int | float | bool)


def trials(
    base: Mapping[str, Any],
    ranks: Sequence[Rank],
    seeds: Sequence[int],
    axes: Mapping[str, Sequence[Any]],
    rule: AlphaRule,
) -> list[Trial]:
    """Every combination, seeds outermost: the first answers come from one seed of each rank.

    A LoRA axis makes no second full trial, since full fine-tuning ignores it: its value there is null.
    """
    combinations = (
        _trial(base, rank, seed, dict(zip(axes, values, strict=True)), rule)
        for seed in seeds
        for values in itertools.product(*axes.values())
        for rank in ranks
    )
    return list({trial.trial_id: trial for trial in combinations}.values())


def _trial(base: Mapping[str, Any], rank: Rank, seed: int, axes: dict[str, Any], rule: AlphaRule) -> Trial:
    if rank == FULL:
        axes = {key: None if is_lora_setting(key) else value for key, value in axes.items()}
    settings = {**base, **axes, "seed": seed}
    alpha = None
    if rank == FULL:
        settings = {key: value for key, value in settings.items() if not is_lora_setting(key)}
    else:
        alpha = alpha_of(rank, float(settings.get("lora_alpha", REFERENCE_ALPHA)), rule)
        settings |= {"lora_r": rank, "lora_alpha": int(alpha) if alpha.is_integer() else alpha}
        if rule == "rslora":
            settings["use_rslora"] = True
    digest = config_hash(settings, axes)
    name = FULL if rank == FULL else f"r{rank}"
    return Trial(
        trial_id=f"{name}-s{seed}-{digest[:8]}",
        lora_r=None if rank == FULL else rank,
        lora_alpha=alpha,
        seed=seed,
        axes=axes,
        settings=settings,
        config_hash=digest,
    )


def smaller_ranks(rank: int | None, ranks: Sequence[Rank]) -> tuple[int, ...]:
    """The LoRA ranks of a sweep that are smaller than its largest, if that is the rank; none for any other."""
    known = sorted({one for one in ranks if one != FULL})
    return tuple(known[:-1]) if known and rank == known[-1] else ()


def is_lora_setting(key: str) -> bool:
    """Whether a setting has no meaning for full fine-tuning."""
    return key.startswith("lora_") or key in {"use_rslora", "use_dora"}


def alpha_of(rank: int, lora_alpha: float, rule: AlphaRule) -> float:
    """LoRA's alpha for a rank. An adapter's output is scaled by alpha/r (alpha/√r under rsLoRA, arXiv:2312.03732).

    `fixed` and `rslora` keep alpha; `proportional` keeps the scale that `lora_alpha` has at rank 16, TRL's default rank.
    """
    return lora_alpha * rank / REFERENCE_RANK if rule == "proportional" else lora_alpha


def config_hash(settings: Mapping[str, Any], axes: Mapping[str, Any] | None = None) -> str:
    """Hash of the settings that affect what a trial computes. An axis always counts, or its values could not be told apart."""
    left_out = ignored_in_trial_id(settings) - set(axes or {})
    kept = {key: value for key, value in settings.items() if key not in left_out}
    kept = redact.plain(kept)  # the same on every machine; a renewed token does not make a different trial
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Settings that differ between trials, with their distinct values in order of appearance."""
    keys = dict.fromkeys(key for one in settings for key in one)
    met = {key: _distinct([one.get(key) for one in settings]) for key in keys}
    return {key: values for key, values in met.items() if len(values) > 1}


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(value, sort_keys=True) for value in values)]
