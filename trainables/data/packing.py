"""Checks whether packed rows attend to each other, with a small model of the same configuration, before anything starts.

When packing, TRL concatenates rows into one and leaves it to the attention implementation to keep them apart. Some do so by
the rows' boundaries (FlashAttention), some by their positions, and some not at all: then the loss is silently of other texts.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.common.formatting import sentence
from sweep.common.names import Resolve
from sweep.common.quiet import quiet
from sweep.errors import Complaint
from sweep.space import Trial

ROWS = (7, 5, 9)  # tokens in each packed row
FLASH = "kernels-community/flash-attn2"
HERE = ("sdpa", "eager")  # what can be checked without a GPU, in the order of suggestion
BY_BOUNDS = "rows_by_their_bounds"  # our name for FlashAttention's stand-in
SAME = 1e-3  # of the largest logit; rounding is below 1e-5, and rows that attend to each other are above 0.1
LARGEST = 100_000_000  # the most parameters of a model that is run
_HEADS = 2
_SMALL = {
    "vocab_size": 64,
    "intermediate_size": 64,
    "ffn_dim": 64,
    "n_inner": 64,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


def complaints(trials: Sequence[Trial], resolve: Resolve) -> tuple[list[Complaint], list[str]]:
    """What is wrong with packing in these trials, and what could not be checked; each configuration is checked once."""
    refused: dict[Complaint, None] = {}
    unknown: dict[str, None] = {}
    asked: dict[tuple[str | None, ...], tuple[Complaint | None, str | None]] = {}
    for trial in trials:
        settings = trial.settings
        # `wrapped` cuts rows anywhere and has them attend to each other on purpose.
        apart = settings.get("packing") and settings.get("packing_strategy", "bfd") != "wrapped"
        if not apart or not settings.get("model_name_or_path"):  # a missing one has been reported
            continue
        key = (str(settings["model_name_or_path"]), str(settings.get("model_revision")), _attention(settings))
        if key not in asked:
            with quiet():
                asked[key] = _asked(settings, resolve)
        wrong, open_ = asked[key]
        refused |= {wrong: None} if wrong else {}
        unknown |= {open_: None} if open_ else {}
    return list(refused), list(unknown)


def _attention(settings: Mapping[str, Any]) -> str | None:
    """The attention that the trial loads its model with; None for the model's default."""
    given: str | None = (settings.get("model_init_kwargs") or {}).get("attn_implementation")
    return given or settings.get("attn_implementation")


def _asked(settings: Mapping[str, Any], resolve: Resolve) -> tuple[Complaint | None, str | None]:
    """A complaint if rows attend to each other, and a warning if that cannot be checked here."""
    name, attention = str(settings["model_name_or_path"]), _attention(settings)
    head = f": with {name} under {f'--attn_implementation {attention}' if attention else 'its default attention'}"
    try:
        config = _small(_config(settings, resolve))
        if keeps_apart(config, attention, settings):
            return None, None
        others = [one for one in (*HERE, FLASH) if one != attention and _works(config, one, settings)]
    except Exception as error:  # the configuration is not ours, and the libraries may raise anything
        return None, f"--packing{head} it is not known whether packed rows see each other: {sentence(error, 200)}"
    ways = " or ".join(f"--attn_implementation {one}" for one in others)
    gpu = " (on a GPU)" if FLASH in others else ""
    fix = f"Add {ways}{gpu}, or leave --packing out." if others else "Leave --packing out."
    text = f"{head}, packed rows see each other: the losses would be of other texts than your rows. {fix}"
    return Complaint("packing", text), None


def _works(config: Any, attention: str, settings: Mapping[str, Any]) -> bool:
    try:
        return keeps_apart(config, attention, settings)
    except Exception:  # an attention that the model does not have
        return False


def _config(settings: Mapping[str, Any], resolve: Resolve) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(
        resolve(str(settings["model_name_or_path"])),
        revision=settings.get("model_revision", "main"),
        trust_remote_code=bool(settings.get("trust_remote_code")),
    )


def _small(config: Any) -> Any:
    """The same configuration with few layers, two heads of the same size and a small vocabulary.

    Raises:
        ValueError: it has layers without attention, which use a different implementation on a GPU.
    """
    text = config.get_text_config()
    kinds = list(dict.fromkeys(getattr(text, "layer_types", None) or []))
    if strange := [kind for kind in kinds if not str(kind).endswith("attention") or "linear" in str(kind)]:
        raise ValueError(f"its layers of kind {strange[0]} use a different implementation on a GPU")
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    grouped = (getattr(text, "num_key_value_heads", None) or heads) < heads
    small = {
        **_SMALL,
        "num_hidden_layers": max(2, len(kinds)),
        "layer_types": (kinds * 2)[: max(2, len(kinds))],
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1 if grouped else _HEADS,
        "hidden_size": _HEADS * size,
    }
    if (projected := getattr(text, "word_embed_proj_dim", None)) is not None:
        small["word_embed_proj_dim"] = small["hidden_size"] // (1 if projected == text.hidden_size else 2)
    for key, value in small.items():
        if getattr(text, key, None) is not None:
            setattr(text, key, value)
    return config


def keeps_apart(config: Any, attention: str | None, settings: Mapping[str, Any]) -> bool:
    """Whether a model of this configuration gives packed rows the same logits as the rows alone.

    FlashAttention needs a GPU. A stand-in replaces it that gets the same information: where rows begin.
    """
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = _model(config, BY_BOUNDS if "flash" in (attention or "") else attention, settings)
        rows = [torch.randint(2, _SMALL["vocab_size"], (length,)).tolist() for length in ROWS]
        alone = torch.cat([model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in rows])
        pack = {"input_ids": [token for row in rows for token in row], "seq_lengths": list(ROWS)}
        batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([pack])
        del batch["labels"]
        packed = model(**batch, use_cache=False).logits[0]
    return bool((packed - alone).abs().max() <= SAME * alone.abs().max())


def _model(config: Any, attention: str | None, settings: Mapping[str, Any]) -> Any:
    """The model in evaluation mode, with weights that are large enough for attention to matter.

    Raises:
        ValueError: it is not small.
    """
    import torch
    from transformers import AttentionInterface, AutoModelForCausalLM

    AttentionInterface.register(BY_BOUNDS, _by_bounds)
    remote = bool(settings.get("trust_remote_code"))
    with torch.device("meta"):
        count = sum(one.numel() for one in _build(AutoModelForCausalLM, config, None, remote).parameters())
    if count > LARGEST:
        raise ValueError(f"its smallest form has {count:,} parameters")
    model = _build(AutoModelForCausalLM, config, attention, remote)
    for one in model.parameters():
        if one.dim() > 1:
            torch.nn.init.normal_(one, std=one.shape[-1] ** -0.5)
    return model.eval()


def _build(kind: Any, config: Any, attention: str | None, remote: bool) -> Any:
    """Copies the configuration, since `from_config` stores the attention in it."""
    return kind.from_config(
        copy.deepcopy(config), attn_implementation=attention, dtype="float32", trust_remote_code=remote
    )


def _by_bounds(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """Attention as in FlashAttention: causal, within the rows' boundaries or, without them, from each position 0.

    query is (1, heads, tokens, size); key and value may have fewer heads. Returns (1, tokens, heads, size).
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    bounds, positions = kwargs.get("cu_seq_lens_q"), kwargs.get("position_ids")
    if bounds is None and positions is not None:
        bounds = torch.cat([(positions[0] == 0).nonzero()[:, 0], torch.tensor([query.shape[2]])])
    ends = [0, query.shape[2]] if bounds is None else bounds.tolist()
    attend = torch.nn.functional.scaled_dot_product_attention
    parts = [
        attend(query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=scaling)
        for a, b in itertools.pairwise(ends)
    ]
    return torch.cat(parts, 2).transpose(1, 2), None
