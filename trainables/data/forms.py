"""The data formats of rows, and how each is converted to one that TRL knows.

    input_ids                     tokens, with labels or masks if wanted
    prompt, completion            strings, or lists of messages
    messages                      lists of {"role", "content"}
    conversations                 lists of {"from", "value"} or {"role", "content"}
    text                          or the column that dataset_text_field names
    instruction, input, output    becomes prompt and completion through prompt_template

If a data set has the columns of several, the first in this order counts, as in TRL itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.common.formatting import first_few
from sweep.errors import Complaint, Problem
from trainables.data import nested
from trainables.data.files import Part
from trainables.data.sources import Settings

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
# The columns of each format, with the default dataset_text_field.
COLUMNS = {
    "tokens": ("input_ids",),
    "prompt/completion": ("prompt", "completion"),
    "messages": ("messages",),
    "conversations": ("conversations",),
    "text": ("text",),
    "instruction": ("instruction", "output"),
}
_EXTRAS = ("tools", "chat_template_kwargs")  # columns that TRL passes to the chat template
_OF_TOKENS = ("labels", "completion_mask", "assistant_masks")  # from the last two TRL makes the labels
_PICTURES = ("image", "images")  # columns by which TRL recognizes vision-language rows
# Rows of other trainers, by their columns; the first that fits counts. What to do with them here.
_OTHER_TASKS = (
    (("prompt", "chosen", "rejected"), "preference rows: rename chosen to completion, and leave rejected out"),
    (
        ("chosen", "rejected"),
        "preference rows: rename chosen to text, or to messages if it holds lists, and leave rejected out",
    ),
    (("prompt", "completions", "labels"), "stepwise rows: join each row's completions into one, as column completion"),
    (("prompt",), "prompts without completions: call the column of the answers completion"),
)


@dataclass
class Notes:
    """What was found so far: complaints stop the sweep, warnings do not."""

    complaints: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    """A data format: its columns, and those of them that must not be blank."""

    columns: tuple[str, ...]
    filled: tuple[str, ...]
    optional: tuple[str, ...] = ()


def forms(settings: Settings) -> dict[str, Form]:
    """Every format by name; the first that fits counts."""
    text = settings.get("dataset_text_field") or "text"
    known = {
        "tokens": Form(COLUMNS["tokens"], COLUMNS["tokens"], _OF_TOKENS),
        "prompt/completion": Form(COLUMNS["prompt/completion"], ("completion",), _EXTRAS),
        "messages": Form(COLUMNS["messages"], ("messages",), _EXTRAS),
        "conversations": Form(COLUMNS["conversations"], ("conversations",), _EXTRAS),
        "text": Form((text,), (text,)),
        "instruction": Form(COLUMNS["instruction"], ("output",), ("input",)),
    }
    if settings.get("prompt_template"):  # requests the instruction format
        known = {"instruction": known["instruction"], **known}
    return known


def wanted(settings: Settings) -> set[str]:
    """Every column that a format may use, and the one that names clusters."""
    used = {column for form in forms(settings).values() for column in (*form.columns, *form.optional)}
    return used | ({settings["dataset_group"]} if settings.get("dataset_group") else set())


def form_of(columns: Iterable[str], settings: Settings) -> str | None:
    """The name of the first format whose columns are all present, or None."""
    have = set(columns)
    return next((name for name, form in forms(settings).items() if have.issuperset(form.columns)), None)


def of_another_task(columns: Iterable[str]) -> str | None:
    """What rows with these columns are meant for if not for this, and how to use them here; None if that is not known."""
    have = set(columns)
    return next((words for needed, words in _OTHER_TASKS if have.issuperset(needed)), None)


def pictures_in(columns: Iterable[str]) -> list[str]:
    """The columns that make rows vision-language data, as TRL sees it."""
    return [column for column in columns if column in _PICTURES]


# --- checks ------------------------------------------------------------------------------------------------------------


def kind_of(column: pa.ChunkedArray) -> str:
    """`text`, `messages` (a list of role/content), `turns` (a list of from/value), `numbers` (a list of whole ones), `null`,
    or the Arrow type's name."""
    kind = column.type
    if nested.holds_json(kind) and not _is_list_of_structs(kind):
        return _kind_of_json(nested.first(column))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_null(kind):
        return "null"
    if _is_list_of_structs(kind):
        return _kind_of_list(
            {kind.value_type.field(index).name for index in range(kind.value_type.num_fields)}, str(kind)
        )
    return "numbers" if _is_list(kind) and pa.types.is_integer(kind.value_type) else str(kind)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_list_of_structs(kind: pa.DataType) -> bool:
    return _is_list(kind) and pa.types.is_struct(kind.value_type)


def _kind_of_json(value: Any) -> str:
    """The kind of a column that `value` is the first of; an object there is neither messages nor turns."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return _kind_of_list({key for one in value for key in one}, "a list of objects")
    return "null" if value is None else "objects"


def _kind_of_list(names: set[str], other: str) -> str:
    """The kind of lists of objects with these keys. An assistant's message may have tool calls alone."""
    if "role" in names and not names.isdisjoint({"content", "tool_calls"}):
        return "messages"
    return "turns" if {"from", "value"} <= names else other


def conversational(table: pa.Table, turns: bool = True) -> bool:
    """Whether rows in TRL's format need a chat template; with `turns`, from/value lists count too."""
    kinds = ("messages", "turns") if turns else ("messages",)
    return any(kind_of(table[column]) in kinds for column in table.column_names)


def type_complaints(part: Part, name: str, settings: Settings) -> list[str]:
    """Complains about columns whose values have a type that the format does not allow."""
    kinds_of = {"messages": ("messages",), "conversations": ("messages", "turns"), "tokens": ("numbers",)}
    allowed = kinds_of.get(name, ("text", "messages") if name == "prompt/completion" else ("text",))
    form = forms(settings)[name]
    columns = [*form.columns, *(column for column in form.optional if column not in _EXTRAS)]
    kinds = {column: kind_of(part.table[column]) for column in columns if column in part.table.column_names}
    words = {
        "text": "text",
        "messages": "a list of {role, content}",
        "turns": "a list of {from, value}",
        "numbers": "a list of whole numbers",
    }
    complaints = [
        f"{part.name}: column {column!r} holds {words.get(kind, kind)}. It must be "
        f"{' or '.join(words[one] for one in allowed)}."
        for column, kind in kinds.items()
        if kind not in (*allowed, "null")
    ]
    if not complaints and name == "prompt/completion" and len({kind for kind in kinds.values() if kind != "null"}) > 1:
        complaints.append(
            f"{part.name}: prompt and completion must both be strings or both lists of messages: {kinds}."
        )
    if not complaints and name == "tokens":
        complaints += _length_complaints(part)
    return complaints


def _length_complaints(part: Part) -> Iterator[str]:
    """Labels and masks have a value for each token."""
    table = part.table
    lengths = pc.fill_null(pc.list_value_length(table["input_ids"]), 0)
    for column in _OF_TOKENS:
        if column in table.column_names:
            differs = pc.not_equal(pc.fill_null(pc.list_value_length(table[column]), 0), lengths).to_pylist()
            if any(differs):
                yield (
                    f"{part.name}: {column} must have a value for each of input_ids, "
                    f"{part.where(differs.index(True))} has another number. Correct it."
                )


def blank_rows(table: pa.Table, name: str, settings: Settings) -> list[int]:
    """Indices of the rows that have nothing to train on, or lack a value that the format needs."""
    form = forms(settings)[name]
    blank = pa.array([False] * table.num_rows)
    for column in form.columns:
        missing = pc.fill_null(pc.is_null(table[column]), True)
        if column in form.filled:
            missing = pc.or_(missing, _is_empty(table[column]))
        blank = pc.or_(blank, missing)
    return [row for row, is_blank in enumerate(blank.to_pylist()) if is_blank]


def _is_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if kind_of(column) == "text":
        size = pc.utf8_length(pc.utf8_trim_whitespace(column))
    elif pa.types.is_null(column.type):
        return pc.is_null(column)
    elif isinstance(column.type, pa.JsonType):
        return pa.chunked_array([pa.array([not value for value in nested.pylist(column)], pa.bool_())])
    else:
        size = pc.list_value_length(column)
    return pc.fill_null(pc.equal(size, 0), True)


def template_complaints(template: object) -> list[Complaint]:
    """What is wrong with a prompt_template: it may contain only {instruction} and {input}, and must contain the first."""
    if template is None:
        return []
    fix = "Use {instruction} and, if wanted, {input}; write literal braces twice."
    if not isinstance(template, str):
        return [Complaint("prompt_template", f" must be a string, got {template!r}. {fix}")]
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        return [Complaint("prompt_template", f" {template!r} is not a format string: {error}. {fix}")]
    names = [name for _, name, _, _ in pieces if name is not None]
    odd = [name for name in names if name not in ("instruction", "input")]
    if odd or any(spec or conversion for _, _, spec, conversion in pieces):
        return [
            Complaint(
                "prompt_template", f" {template!r} may only contain plain fields, got {first_few(odd or names)}. {fix}"
            )
        ]
    return (
        [] if "instruction" in names else [Complaint("prompt_template", f" {template!r} lacks {{instruction}}. {fix}")]
    )


# --- conversion --------------------------------------------------------------------------------------------------------


def to_trl(table: pa.Table, name: str, settings: Settings, notes: Notes) -> pa.Table:
    """The rows in a format that TRL accepts as it is, with no other columns."""
    form = forms(settings)[name]
    if name == "instruction":
        return _instructions(table, settings.get("prompt_template"), notes)
    table = table.select([column for column in table.column_names if column in (*form.columns, *form.optional)])
    if name == "conversations" and kind_of(table["conversations"]) == "messages":
        return table.rename_columns({"conversations": "messages"})  # TRL uses this name for from/value only
    return table


def _instructions(table: pa.Table, template: str | None, notes: Notes) -> pa.Table:
    instructions = table["instruction"].to_pylist()
    inputs = table["input"].to_pylist() if "input" in table.column_names else [None] * table.num_rows
    unused = [row for row, given in enumerate(inputs) if _has_text(given)]
    if template is not None and "{input}" not in template and unused:
        notes.warnings.append(
            f"--prompt_template has no {{input}}: the input of {len(unused)} of {table.num_rows} rows is left out."
        )
    prompts = [_prompt(*pair, template) for pair in zip(instructions, inputs, strict=True)]
    return pa.table({"prompt": pa.array(prompts, pa.large_string()), "completion": table["output"]})


def _prompt(instruction: str, given: str | None, template: str | None) -> str:
    if template is None:
        template = ALPACA_WITH_INPUT if _has_text(given) else ALPACA_WITHOUT_INPUT
    return template.format(instruction=instruction, input=given or "")


def _has_text(value: str | None) -> bool:
    return bool(value and value.strip())


def loss_complaints(table: pa.Table, settings: Settings) -> list[Complaint]:
    """Complains about loss settings that rows of this format cannot serve. The table is in TRL's format."""
    columns: Sequence[str] = table.column_names
    complaints = []
    if settings.get("completion_only_loss") and not {"completion", "completion_mask", "labels"} & set(columns):
        complaints.append(
            Complaint(
                "completion_only_loss",
                f" true needs prompt and completion, or completion_mask beside input_ids; the data has {first_few(list(columns))}. "
                "Give such rows, or leave completion_only_loss out.",
            )
        )
    if settings.get("assistant_only_loss") and not conversational(table, turns=False):
        complaints.append(
            Complaint(
                "assistant_only_loss",
                f" true needs lists of {{role, content}}; the data has none in {first_few(list(columns))}. "
                "Give a messages column, or leave assistant_only_loss out.",
            )
        )
    return complaints
