"""Greedy generation on held-out prompts, compared with the references."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sweep.store.store import Row
from trainables.training.evaluate import as_many_as_fit

TIMES = 4  # as many at a time as in an evaluation: a token of one prompt takes a small part of what its whole row takes


def matches(trainer: Any, prompts: Any, batch_size: int, left: Callable[[int], None] = lambda rows: None) -> list[Row]:
    """Rows of SCORES without `trial_id` and `metric`, one per prompt.

    A generation ends at the tokenizer's or the model's end token, or at the row's `longest` tokens: then it is no match,
    whatever it says, since it would have gone on. Text is compared without special tokens and the whitespace around it.
    The batches with the longest references come first, so that running out of memory happens early. `left` is called before each
    batch with the number of remaining prompts.
    """
    rows = as_many_as_fit(batch_size, lambda size: _matches(trainer, prompts.to_pylist(), size, left))
    ended = [row.pop("ended") for row in rows]
    if not any(ended):
        print(
            "No generation came to an end token. If the chat template ends a turn with another token than the tokenizer's, name it "
            "with --eos_token."
        )
    return rows


def _matches(trainer: Any, prompts: Sequence[Row], batch_size: int, left: Callable[[int], None]) -> list[Row]:
    ends = end_tokens(trainer)
    found: dict[int, Row] = {}
    trainer.model.eval()
    for batch in _batches(prompts, batch_size, _positions(trainer)):
        left(len(prompts) - len(found))
        for row, ids in zip(batch, _generated(trainer, batch, ends), strict=True):
            found[row["example_id"]] = _compared(trainer.processing_class, row, ids, ends)
    return [found[row["example_id"]] for row in prompts]


def _batches(prompts: Sequence[Row], size: int, positions: int | None) -> Iterator[list[Row]]:
    """Prompts with references of about the same length together; alone where together they need more positions than there are."""
    order = sorted(prompts, key=lambda row: (-row["longest"], -len(row["prompt"])))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        needed = max(len(row["prompt"]) for row in batch) + max(row["longest"] for row in batch)
        if positions is None or needed <= positions:
            yield batch
        else:
            yield from ([row] for row in batch)


def _positions(trainer: Any) -> int | None:
    return getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None)


def end_tokens(trainer: Any) -> list[int]:
    """The tokens that end a generation: the tokenizer's, and those that the model says itself."""
    own = trainer.model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(one for one in (trainer.processing_class.eos_token_id, *listed) if one is not None))


def _generated(trainer: Any, batch: Sequence[Row], ends: Sequence[int]) -> list[list[int]]:
    """What is generated from each prompt, the end token and padding after it included; prompts are padded on the left."""
    import torch
    from transformers import GenerationConfig

    pad = trainer.model.config.get_text_config().pad_token_id
    width = max(len(row["prompt"]) for row in batch)
    gaps = [width - len(row["prompt"]) for row in batch]
    ids = [[pad] * gap + row["prompt"] for gap, row in zip(gaps, batch, strict=True)]
    mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
    positions, longest = _positions(trainer), max(row["longest"] for row in batch)
    greedy = GenerationConfig(
        max_new_tokens=longest if positions is None else min(longest, positions - width),
        eos_token_id=list(ends),
        pad_token_id=pad,
        use_cache=True,
        do_sample=False,
    )
    on = {"device": trainer.args.device}
    with torch.no_grad(), trainer.compute_loss_context_manager(), _no_settings_of_its_own(trainer.model):
        made = trainer.model.generate(
            input_ids=torch.tensor(ids, **on), attention_mask=torch.tensor(mask, **on), generation_config=greedy
        )
    return [row[width:] for row in made.tolist()]


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """Generation settings that came with the model (penalties, suppressed tokens, a least length) fill in what a call leaves out."""
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, base.generation_config = base.generation_config, GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = own


def _compared(tokenizer: Any, row: Row, ids: Sequence[int], ends: Sequence[int]) -> Row:
    own = ids[: row["longest"]]  # however much longer the others of its batch were
    end = next((place for place, token in enumerate(own) if token in ends), None)
    text = tokenizer.decode(own[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return {
        **{key: row[key] for key in ("example_id", "group", "content_hash", "expected")},
        "generated": text,
        "after": float(end is not None and text.strip() == row["expected"].strip()),
        "ended": end is not None,
    }
