"""Builds what the demo ships: two small models pretrained on Python's standard library, and docstring → function pairs.

    python -m trainables.demo.build            a small OPT in model/, with its tokenizer and the pairs
    python -m trainables.demo.build llama      a small Llama in llama/, with the same tokenizer

The first takes about 30 minutes on two cores, the second about 15 on one. Prints the held-out loss, in bits per byte, as it goes.
"""

import argparse
import json
import platform
import shutil
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trainables.demo import corpus

VOCABULARY, CONTEXT, BATCH, LENGTH, WARM_UP = 2048, 512, 16, 128, 150
SHIPPED = Path(__file__).parent
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # in OPT's order: padding is 1, and </s> starts and ends a text


def build_tokenizer(texts: Iterator[str]) -> Any:
    """A byte-level BPE tokenizer, like OPT's, so that every text can be tokenized."""
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    return _tokenizer(tokenizer_object=bpe._tokenizer)


def shipped_tokenizer() -> Any:
    return _tokenizer(tokenizer_file=str(SHIPPED / "model" / "tokenizer.json"))


def _tokenizer(**source: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        **source,
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=CONTEXT,
    )


def build_opt() -> Any:
    """A small model of opt-350m's shape: layer norm after each block, and embeddings narrower than the hidden state."""
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        ffn_dim=512,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        word_embed_proj_dim=64,
        do_layer_norm_before=False,
        dropout=0.0,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=2,
    )
    return OPTForCausalLM(config)


def build_llama() -> Any:
    """As large, and of another shape: RMS norm before each block, rotary positions, SwiGLU, two heads to a key and value."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        intermediate_size=352,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


class Recipe(NamedTuple):
    """How a model is built and pretrained: optimizer steps, and the highest learning rate."""

    build: Callable[[], Any]
    steps: int
    rate: float


# By the folder that each is in. The second one has less time: fewer steps, at a higher rate.
MODELS = {"model": Recipe(build_opt, 16_000, 1e-3), "llama": Recipe(build_llama, 4_000, 3e-3)}


def tokens_of(tokenizer: Any, part: corpus.Part) -> tuple[torch.Tensor, int]:
    """All modules of a part as one row of token ids, each module ended by </s>, and their size in bytes."""
    ids: list[int] = []
    size = 0
    for _, source in corpus.modules(part):
        ids += tokenizer(source, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        size += len(source.encode())
    return torch.tensor(ids), size


def loss_of(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss in nats of a [rows, length] batch."""
    logits = model(input_ids=batch).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1))


@torch.no_grad()
def bits_per_byte(model: Any, ids: torch.Tensor, size: int) -> float:
    """Held-out loss over windows of LENGTH tokens, in bits per byte of source."""
    model.eval()
    windows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    losses = [loss_of(model, rows).item() * len(rows) for rows in torch.split(windows, 64)]
    model.train()
    return sum(losses) / len(windows) * len(ids) / size / 0.6931471805599453


def share_at(step: int, steps: int) -> float:
    """Linear warm-up, constant, then linear decay to zero over the last 40 %, where the curve goes flat."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / (0.4 * steps))


def pretrain(model: Any, tokenizer: Any, steps: int, rate: float, save: Any) -> list[dict[str, float]]:
    """Trains in place; returns the held-out curve."""
    train, _ = tokens_of(tokenizer, "pretrain")
    held_out, size = tokens_of(tokenizer, "validation")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    began, curve = time.monotonic(), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * share_at(step, steps)
        starts = torch.randint(len(train) - LENGTH, (BATCH,))
        loss = loss_of(model, torch.stack([train[start : start + LENGTH] for start in starts]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 1000 == 0 or step + 1 == steps:
            point = {"step": step + 1, "train_loss": loss.item(), "bits_per_byte": bits_per_byte(model, held_out, size)}
            curve.append({key: round(value, 4) for key, value in point.items()})
            print(json.dumps(curve[-1] | {"seconds": round(time.monotonic() - began)}), flush=True)
            save(curve)
    return curve


def save_model(model: Any, tokenizer: Any, curve: list[dict[str, float]], folder: Path) -> None:
    """Writes half-precision weights, the tokenizer, and the curve that was measured while training."""
    import copy

    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "pretraining.json").write_text(
        json.dumps({"python": platform.python_version(), "curve": curve}, indent=1) + "\n"
    )


def save_pairs(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(corpus.pairs()), folder / "pairs.parquet", compression="zstd")


def first_files(folder: Path) -> Any:
    """Writes the license and the pairs; returns the tokenizer."""
    shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / "LICENSE.txt", folder / "LICENSE-PYTHON.txt")
    save_pairs(folder)
    return build_tokenizer(source for _, source in corpus.modules("pretrain"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=[*MODELS], default="model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output_dir", type=Path, default=SHIPPED)
    args = parser.parse_args()
    torch.manual_seed(0)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = first_files(args.output_dir) if args.model == "model" else shipped_tokenizer()
    recipe, folder = MODELS[args.model], args.output_dir / args.model
    model = recipe.build()
    steps = args.steps or recipe.steps
    pretrain(model, tokenizer, steps, recipe.rate, lambda curve: save_model(model, tokenizer, curve, folder))


if __name__ == "__main__":
    main()
