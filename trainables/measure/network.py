"""A model with random weights, and a tokenizer that only defines a padding token."""

from collections.abc import Mapping
from typing import Any

from sweep.common.names import Resolve
from trainables import model


def random_weights(settings: Mapping[str, Any], resolve: Resolve, device: Any) -> Any:
    """The model that a trial loads, created from its configuration alone, on `device`.

    Raises:
        ValueError: its weights are to be quantized, which happens when they are loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    chosen, remote = model.model_config(settings), bool(settings.get("trust_remote_code", False))
    if chosen.load_in_4bit or chosen.load_in_8bit:
        raise ValueError(
            "random weights are not quantized: leave --random_weights out, or load_in_4bit and load_in_8bit."
        )
    name, revision = resolve(str(settings["model_name_or_path"])), model.revision(settings)
    config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=remote)
    wanted = config.dtype or torch.float32 if chosen.dtype == "auto" else getattr(torch, chosen.dtype or "float32")
    with torch.device(device):
        return AutoModelForCausalLM.from_config(
            config, dtype=wanted, attn_implementation=chosen.attn_implementation, trust_remote_code=remote
        )


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<pad>": 0}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<pad>")
