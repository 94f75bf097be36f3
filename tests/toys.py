"""Tiny tokenizers and models for tests, made in code: no download, the same bytes every time, well below 1 MB.

folder = toys.model(tmp_path / "llama", "llama")   # a folder that `from_pretrained` and `--model_name_or_path` take
"""

from pathlib import Path
from typing import Any

LINES = (
    "def add(first, second):\n    return first + second\n",
    "Below is an instruction that describes a task. Write a response that completes the request.\n",
    "### Instruction: return the sum of the numbers ### Input: ### Response: print(total)\n",
    "for number in numbers:\n    total = total + number\nreturn total\n",
    "Straße, naïve café, 数字を足す, здравствуй мир, a smile 🙂\n",
)

# Marks the assistant's tokens, end of turn included, so that `assistant_only_loss` works.
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}</s>{% endgeneration %}"
    "{% else %}{{ message['content'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer(folder: Path | str, *, bos: bool = False, lines: tuple[str, ...] = LINES, vocabulary: int = 400) -> Path:
    """Saves a byte-level BPE tokenizer, which can spell any text, and returns its folder.

    With `bos`, every text begins with `</s>`, as OPT's does.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "</s>", "<unk>", "<user>", "<assistant>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(lines, trainer)
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return Path(folder)


def model(folder: Path | str, architecture: str = "llama", *, positions: int = 256) -> Path:
    """Saves a random model of 2 layers and width 32 as safetensors, with the toy tokenizer; returns its folder.

    Args:
        architecture: `llama`, `gpt2`, or `opt` (shaped as opt-350m: post-layer-norm, projected embeddings, BOS).
        positions: longest sequence, in tokens.
    """
    import torch
    from transformers import AutoTokenizer

    tokenizer(folder, bos=architecture == "opt")
    vocabulary = len(AutoTokenizer.from_pretrained(folder))
    state = torch.get_rng_state()
    torch.manual_seed(0)
    _network(architecture, vocabulary, positions).save_pretrained(folder)
    torch.set_rng_state(state)
    return Path(folder)


def _network(architecture: str, vocabulary: int, positions: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

    common = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    wide = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": positions}
    if architecture == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=positions, **common))
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(intermediate_size=64, num_key_value_heads=2, **wide, **common))
    if architecture == "opt":
        shape = {"ffn_dim": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False}
        return OPTForCausalLM(OPTConfig(**shape, **wide, **common))
    raise ValueError(f"no toy of architecture {architecture!r}: use llama, gpt2 or opt")
