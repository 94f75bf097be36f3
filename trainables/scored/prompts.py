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
            ids, expected = _ids(tokenizer, pair[0], row), pair[1]
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


def _pair(row: Mapping[str, Any]) -> tuple[Any, str] | None:
    """A row's prompt, a text or messages, and the reference; None where it has none."""
    if "prompt" in row:
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(completion, str):
            return (prompt, completion) if completion.strip() else None
        return _last_answer([*prompt, *completion])
    messages = row.get("messages") or row.get("conversations")
    return _last_answer(messages) if isinstance(messages, list) else None


def _last_answer(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, str] | None:
    """The messages up to the assistant's last one, and that one's text; None where the conversation does not end with one."""
    from trl import maybe_convert_to_chatml

    said = maybe_convert_to_chatml({"messages": [dict(message) for message in messages]})["messages"]
    answer = said[-1]["content"] if len(said) > 1 and said[-1]["role"] == "assistant" else None
    return (said[:-1], answer) if isinstance(answer, str) and answer.strip() else None


def _ids(tokenizer: Any, prompt: Any, row: Mapping[str, Any]) -> list[int]:
    """The prompt's tokens as TRL has them in training; a conversation's end with the opening of the assistant's turn."""
    if isinstance(prompt, str):
        return list(tokenizer(text=prompt)["input_ids"])
    tools = row.get("tools")
    options = {
        "tools": json.loads(tools) if isinstance(tools, str) else tools,
        **(row.get("chat_template_kwargs") or {}),
    }
    made = tokenizer.apply_chat_template(prompt, tokenize=True, return_dict=True, add_generation_prompt=True, **options)
    return list(made["input_ids"])
