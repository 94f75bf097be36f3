"""Builds the network that a trial trains, without weights: the model, its adapter and TRL's loss, as in the trainer."""

from collections.abc import Mapping
from typing import Any

import torch

from sweep.common.names import Resolve
from trainables import model

LOSS_OUTPUTS = ("log_probs", "entropy", "is_top1")  # what SFTTrainer's fused head computes
KERNELS = ("kernels-community/", "flash_attention")  # not simulated: SDPA's own kernels keep as much


def network(settings: Mapping[str, Any], args: Any, resolve: Resolve) -> Any:
    """The model to be trained, on the meta device and in training mode; `args` is the trial's SFTConfig.

    Raises:
        ValueError: no model, or no adapter, can be built from the settings.
    """
    from trl.trainer.utils import add_fused_lm_head

    chosen = model.model_config(settings)
    with torch.device("meta"):
        made = base = _base(chosen, settings, resolve)
        if "lora_r" in settings:
            made = model.with_adapter(base, settings)
            if args.activation_checkpointing:
                made.enable_input_require_grads()
        if chosen.load_in_4bit or chosen.load_in_8bit:
            _adapter_in_bfloat16(made)
        if args.activation_checkpointing:
            options = dict(args.activation_checkpointing_kwargs or {})
            base.activation_checkpointing_enable(
                every_n_layers=options.pop("every_n_layers", 1),
                offload=options.pop("offload", False),
                activation_checkpointing_kwargs=options or None,
            )
        add_fused_lm_head(base, outputs=LOSS_OUTPUTS)
    return made.train()


def positions(settings: Mapping[str, Any], resolve: Resolve) -> int | None:
    """The model's maximum number of positions; None if its configuration has no limit."""
    most = getattr(_config(settings, resolve).get_text_config(), "max_position_embeddings", None)
    return int(most) if most else None


def _config(settings: Mapping[str, Any], resolve: Resolve) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(
        resolve(str(settings["model_name_or_path"])),
        revision=model.revision(settings),
        trust_remote_code=bool(settings.get("trust_remote_code", False)),
    )


def _base(chosen: Any, settings: Mapping[str, Any], resolve: Resolve) -> Any:
    from transformers import AutoModelForCausalLM

    config = _config(settings, resolve)
    attention = str(chosen.attn_implementation or "")
    return AutoModelForCausalLM.from_config(
        config,
        dtype=(config.dtype or torch.float32) if chosen.dtype == "auto" else getattr(torch, chosen.dtype or "float32"),
        attn_implementation="sdpa" if attention.startswith(KERNELS) else chosen.attn_implementation,
        trust_remote_code=bool(settings.get("trust_remote_code", False)),
    )


def _adapter_in_bfloat16(made: Any) -> None:
    """Casts the adapter as SFTTrainer does over a quantized model, following the QLoRA paper (arXiv:2305.14314, section 3)."""
    for name, parameter in made.named_parameters():
        if parameter.requires_grad and "lora_magnitude_vector" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)


def as_fake(made: Any) -> None:
    """Gives the network storages under the active fake tensor mode; tied weights stay tied."""
    memo: dict[int, torch.nn.Parameter] = {}
    for module in made.modules():
        for name, one in [*module.named_parameters(recurse=False, remove_duplicate=False)]:
            if id(one) not in memo:
                empty = torch.empty(one.shape, dtype=one.dtype)
                memo[id(one)] = torch.nn.Parameter(empty, requires_grad=one.requires_grad)
            setattr(module, name, memo[id(one)])
        for name, buffer in [*module.named_buffers(recurse=False, remove_duplicate=False)]:
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
