"""Prompts to generate from after training, and the completions that they should give."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sweep.common.formatting import first_few
from sweep.common.names import Resolve
from sweep.common.quiet import quiet
from sweep.errors import Complaint, ConfigError
from trainables.data import tokens
from trainables.data.rows import DEFAULT_MOST, Rows
from trainables.data.sources import Settings

KEY, EXACT_MATCH = "eval_generation", "exact_match"
SLACK = 8  # tokens beyond the reference's: its end, whitespace around it, the same text in other tokens


def complaints(settings: Settings, rows: Rows | None) -> list[Complaint]:
    """Why there is nothing to generate, before anything starts."""
    asked = settings.get(KEY)
    if asked is None:
        return []
    if asked != EXACT_MATCH:
        return [Complaint(KEY, f": expected {EXACT_MATCH}, got {asked!r}.")]
    if rows is None or any(_pair(row) for row in rows.held_out.select(range(min(len(rows.held_out), DEFAULT_MOST)))):
        return []
    columns = first_few([repr(column) for column in rows.held_out.column_names])
    return [
        Complaint(
            KEY,
            f" {asked}: the held-out rows have {columns}, in which nothing says where a prompt ends and its answer begins. Give rows "
            "with prompt and completion, instruction and output, or messages that end with the assistant's; or leave it out.",
        )
    ]


def prompts(rows: Rows, held_out: pa.Table, settings: Settings, resolve: Resolve) -> tuple[pa.Table, list[str]]:
    """What to generate from, and warnings about rows that are left out.

    The columns are `example_id`, `prompt` (tokens, as the chat template or the tokenizer writes it for generation), `expected`
    (text), `longest` (tokens that may be generated: those of the reference and SLACK), `group` and `content_hash`.

    Args:
        held_out: the tokens of the held-out rows: those without any are left out here, too.

    Raises:
        ConfigError: no row is left.
    """
    from trainables.data.preparation import as_trained

    own = tokens.resolved(settings, resolve)
    known = {row["example_id"]: row for row in held_out.select(["example_id", "group", "content_hash"]).to_pylist()}
    limit = settings.get("max_length", tokens.TOKEN_SETTINGS["max_length"])
    found: list[dict[str, Any]] = []
    without = longer = 0
    with quiet():
        tokenizer = as_trained(rows.held_out, own, tokens.load_tokenizer(own, str))
        for example_id, row in enumerate(rows.held_out):
            if example_id not in known:
                continue
            if (pair := _pair(row)) is None:
                without += 1
                continue
            ids, expected = _written(tokenizer, *pair, row)
            reference = len(tokenizer(expected, add_special_tokens=False)["input_ids"])
            if limit is not None and len(ids) + reference > limit:
                longer += 1
                continue
            made = {"prompt": ids, "expected": expected, "longest": reference + SLACK}
            found.append({**known[example_id], **made})
    warnings = _left_out(len(known), without, longer, limit)
    if not found:
        raise ConfigError([Complaint(KEY, f": there is nothing to generate from: {' '.join(warnings)}")])
    return pa.Table.from_pylist(found, schema=_PROMPTS), warnings


_PROMPTS = pa.schema(
    [
        ("example_id", pa.int64()),
        ("prompt", pa.list_(pa.int32())),
        ("expected", pa.large_string()),
        ("longest", pa.int64()),
        ("group", pa.large_string()),
        ("content_hash", pa.string()),
    ]
)


def _left_out(count: int, without: int, longer: int, limit: int | None) -> list[str]:
    found = []
    if without:
        found.append(
            f"{without} of {count} held-out rows end with no answer of the assistant's: {EXACT_MATCH} leaves them out."
        )
    if longer:
        found.append(
            f"{longer} of {count} held-out rows are, prompt and reference together, longer than max_length {limit} tokens: "
            f"{EXACT_MATCH} leaves them out."
        )
    return found


def _pair(row: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """A row's prompt and the reference: two texts, or messages and a message; None where it has no reference."""
    if "prompt" in row:
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(completion, str):
            return (prompt, completion) if completion.strip() else None
        return _last_answer([*prompt, *completion])
    messages = row.get("messages") or row.get("conversations")
    return _last_answer(messages) if isinstance(messages, list) else None


def _last_answer(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, Any] | None:
    """The messages up to the assistant's last one, and that one; None where the conversation does not end with a text of its."""
    from trl import maybe_convert_to_chatml

    said = maybe_convert_to_chatml({"messages": [dict(message) for message in messages]})["messages"]
    answer = said[-1]["content"] if len(said) > 1 and said[-1]["role"] == "assistant" else None
    return (said[:-1], said[-1]) if isinstance(answer, str) and answer.strip() else None


def _written(tokenizer: Any, prompt: Any, answer: Any, row: Mapping[str, Any]) -> tuple[list[int], str]:
    """The prompt's tokens as TRL has them in training, and the text that follows there until its end token.

    A conversation's prompt ends with the opening of the assistant's turn. A chat template may write more than the answer's
    content into that turn (its reasoning, or an empty `<think>` block), which the model then learns to give.
    """
    if isinstance(prompt, str):
        return list(tokenizer(text=prompt)["input_ids"]), _until_end(tokenizer, answer)
    tools = row.get("tools")
    options = {
        "tools": json.loads(tools) if isinstance(tools, str) else tools,
        **(row.get("chat_template_kwargs") or {}),
    }
    opened = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **options)
    whole = tokenizer.apply_chat_template([*prompt, answer], tokenize=False, **options)
    ids = tokenizer.apply_chat_template(prompt, tokenize=True, return_dict=True, add_generation_prompt=True, **options)
    turn = whole.removeprefix(opened) if whole.startswith(opened) else ""
    ends = bool(tokenizer.eos_token) and tokenizer.eos_token in turn
    return list(ids["input_ids"]), _until_end(tokenizer, turn if ends else answer["content"])


def _until_end(tokenizer: Any, text: str) -> str:
    """Rows may have the end token in their text: TRL adds none to these, and a generation is compared without it."""
    return text.partition(tokenizer.eos_token)[0] if tokenizer.eos_token else text
