"""Every data form that TRL documents for SFT gives the tokens that TRL itself makes of the same file, bit for bit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trl
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sweep.common.quiet import quiet
from trainables.data.rows import Rows, complaints_about_rows, load_rows
from trainables.data.tokens import Tokens, prepare, tokenizer_complaints

Settings = dict[str, Any]
DEMO = Path("trainables/demo/model").resolve()
QWEN = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"  # knows tools; TRL has one of its own for training
CHAT: Settings = {"chat_template_path": str(QWEN)}


def tool(name: str, *arguments: str) -> dict[str, Any]:
    """A tool's schema: those of two tools have different keys."""
    properties = {one: {"type": "string", "description": f"the {one}"} for one in arguments}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": parameters}}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def tool_call(i: int) -> dict[str, Any]:
    """Two tools in turn, with other arguments, one of them now text and now a number."""
    if i % 2:
        asked, schema = call("switch", room=f"room {i}", state="on" if i % 3 else i), tool("switch", "room", "state")
    else:
        asked, schema = call("weather", city="Zürich"), tool("weather", "city")
    answer = {"role": "tool", "name": asked["tool_calls"][0]["function"]["name"], "content": "done"}
    return {"messages": [user(f"do {i}"), asked, answer, assistant("Done!")], "tools": [schema]}


def numbers(i: int) -> list[int]:
    return [(7 * i + j) % 50 + 5 for j in range(4 + i % 5)]


def turns(i: int) -> list[dict[str, str]]:
    return [{"from": "user", "value": f"ask {i}"}, {"from": "assistant", "value": f"tell {i}"}]


# Each form by name: its rows, and settings.
FORMS: dict[str, tuple[list[dict[str, Any]], Settings]] = {
    "text": ([{"text": f"The sky is {i}."} for i in range(8)], {}),
    "another text field": ([{"code": f"x = {i}"} for i in range(8)], {"dataset_text_field": "code"}),
    "messages": ([{"messages": [user(f"sky {i}?"), assistant("blue")]} for i in range(8)], CHAT),
    "assistant only": (
        [{"messages": [user(f"sky {i}?"), assistant("blue")]} for i in range(8)],
        {**CHAT, "assistant_only_loss": True},
    ),
    "prompt and completion": ([{"prompt": f"The sky is {i}", "completion": " blue."} for i in range(8)], {}),
    "whole pairs": (
        [{"prompt": f"The sky is {i}", "completion": " blue."} for i in range(8)],
        {"completion_only_loss": False},
    ),
    "conversational pairs": ([{"prompt": [user(f"{i}?")], "completion": [assistant("blue")]} for i in range(8)], CHAT),
    "assistant only pairs": (
        [{"prompt": [user(f"{i}?")], "completion": [assistant("blue")]} for i in range(8)],
        {**CHAT, "assistant_only_loss": True},
    ),
    "from and value": ([{"conversations": turns(i)} for i in range(8)], CHAT),
    "tool calls": ([tool_call(i) for i in range(8)], CHAT),
    "tool calls, assistant only": ([tool_call(i) for i in range(8)], {**CHAT, "assistant_only_loss": True}),
    "tool calls of one tool": ([tool_call(2 * i) for i in range(8)], CHAT),
    "tools as text": ([{**tool_call(i), "tools": json.dumps(tool_call(i)["tools"])} for i in range(8)], CHAT),
    "tool calls to complete": (
        [{"prompt": [user(f"{i}?")], "completion": [call("a", **{f"x{i % 2}": i})], "tools": []} for i in range(8)],
        CHAT,
    ),
    "arguments of the template": (
        [
            {
                "messages": [user(f"sky {i}?"), assistant("blue")],
                "chat_template_kwargs": {"enable_thinking": False} if i % 2 else {"another": i},
            }
            for i in range(8)
        ],
        CHAT,
    ),
    "unpaired preferences": ([{"prompt": f"{i} ", "completion": "x", "label": i % 2 == 0} for i in range(8)], {}),
    "tokens": ([{"input_ids": numbers(i)} for i in range(8)], {"max_length": 6}),
    "tokens and labels": (
        [{"input_ids": numbers(i), "labels": [-100, *numbers(i)[1:]]} for i in range(8)],
        {"completion_only_loss": True},
    ),
    "tokens and a completion mask": (
        [{"input_ids": numbers(i), "completion_mask": [0, 0] + [1] * (2 + i % 5)} for i in range(8)],
        {"completion_only_loss": True, "max_length": 6},
    ),
    "tokens and a completion mask that is not asked for": (
        [{"input_ids": numbers(i), "completion_mask": [0, 0] + [1] * (2 + i % 5)} for i in range(8)],
        {},
    ),
    "tokens and an assistant mask, packed": (
        [{"input_ids": numbers(i), "assistant_masks": [0] + [1] * (3 + i % 5)} for i in range(8)],
        {"packing": True, "packing_strategy": "wrapped", "max_length": 10},
    ),
}


def write(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


def same(name: str) -> str:
    return name


def load(name: Path | str, **settings: Any) -> Rows:
    return load_rows({"dataset_name": str(name), **settings}, same)


def tokens_of(rows: Rows, settings: Settings, cache: Path) -> Tokens:
    return prepare(rows, {"model_name_or_path": str(DEMO), **settings}, same, cache)


def trainer(train: Any, held_out: Any, folder: Path, settings: Settings) -> Any:
    """A plain SFTTrainer as a user's script would make it."""
    fixed: Settings = {"bf16": False, "activation_checkpointing": False, "report_to": "none", "eval_packing": False}
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(DEMO),
        args=SFTConfig(output_dir=str(folder), use_cpu=True, disable_tqdm=True, **fixed, **settings),
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=AutoTokenizer.from_pretrained(DEMO),
    )


def pairs(table: Any) -> list[Any]:
    """Tokens and labels of a table, or of a data set."""
    columns = ["input_ids", "labels"]
    return list(table.select(columns).to_pylist() if hasattr(table, "to_pylist") else table.select_columns(columns))


@pytest.mark.parametrize("name", FORMS)
def test_tokens_of_a_form_are_those_that_trl_makes_of_the_file(name: str, tmp_path: Path) -> None:
    rows, settings = FORMS[name]
    files = {"train": tmp_path / "rows" / "train.jsonl", "test": tmp_path / "rows" / "test.jsonl"}
    write(files["train"], rows[2:])
    write(files["test"], rows[:2])
    ours = tokens_of(load(tmp_path / "rows", **settings), settings, tmp_path / "cache")
    with quiet():
        given = load_dataset(
            "json", data_files={key: str(path) for key, path in files.items()}, cache_dir=str(tmp_path)
        )
        theirs = trainer(given["train"], given["test"], tmp_path / "out", settings)
    assert pairs(ours.train) == pairs(theirs.train_dataset)
    assert pairs(ours.held_out) == pairs(theirs.eval_dataset)


def test_tools_of_a_saved_data_set_are_those_of_the_file(tmp_path: Path) -> None:
    """`datasets` keeps them as JSON texts, which a struct would change: every tool's arguments in every call."""
    rows = FORMS["tool calls"][0]
    write(tmp_path / "rows.jsonl", rows)
    with quiet():
        Dataset.from_list(rows, on_mixed_types="use_json").save_to_disk(tmp_path / "saved")
    read, saved = load(tmp_path / "rows.jsonl"), load(tmp_path / "saved")
    assert read.train.to_list() == [row for row in rows if row not in read.held_out.to_list()]
    assert saved.train.to_list() == read.train.to_list()
    assert saved.fingerprint == read.fingerprint


def test_files_of_a_folder_may_have_tools_of_different_keys(tmp_path: Path) -> None:
    rows = FORMS["tool calls"][0]
    write(tmp_path / "rows" / "a.jsonl", rows[::2])  # one tool: alike
    write(tmp_path / "rows" / "b.jsonl", rows[1::2])
    found = load(tmp_path / "rows", test_split_size=1)
    assert sorted(map(str, [*found.train.to_list(), *found.held_out.to_list()])) == sorted(map(str, rows))


# --- what is no data for this ------------------------------------------------------------------------------------------

OTHERS = {
    "preferences": (
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        "They are preference rows: rename chosen to completion, and leave rejected out.",
    ),
    "preferences without prompt": (
        {"chosen": "b", "rejected": "c"},
        "They are preference rows: rename chosen to text, or to messages if it holds lists, and leave rejected out.",
    ),
    "stepwise": (
        {"prompt": "a", "completions": ["b"], "labels": [True]},
        "They are stepwise rows: join each row's completions into one, as column completion.",
    ),
    "prompts": ({"prompt": "a"}, "They are prompts without completions: call the column of the answers completion."),
    "pictures": (
        {"messages": [user("a"), assistant("b")], "images": ["a.png"]},
        "rows with a column 'images' are vision-language data, which a sweep does not train on. Leave that column out to train on "
        "the text alone, or use TRL's own script for pictures.",
    ),
    "a picture": ({"text": "a", "image": "a.png"}, "rows with a column 'image' are vision-language data"),
    "masks of another length": (
        {"input_ids": [1, 2], "completion_mask": [1]},
        "completion_mask must have a value for each of input_ids, row 0 (line 1) has another number. Correct it.",
    ),
    "tokens that are text": (
        {"input_ids": "1 2"},
        "column 'input_ids' holds text. It must be a list of whole numbers.",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_rows_are_one_sentence(name: str, tmp_path: Path) -> None:
    row, sentence = OTHERS[name]
    write(tmp_path / "rows.jsonl", [row] * 4)
    (found,) = complaints_about_rows({"dataset_name": str(tmp_path / "rows.jsonl")}, same)
    assert sentence in str(found)


def test_rejected_completions_are_trained_on_with_a_warning(tmp_path: Path) -> None:
    """As TRL does; its own example of completion_only_loss has such rows."""
    write(tmp_path / "rows.jsonl", FORMS["unpaired preferences"][0])
    (warning,) = load(tmp_path / "rows.jsonl").warnings
    assert "column 'label' (of unpaired preferences) is not used" in warning


@pytest.mark.parametrize("token", [9_999, -1])
def test_tokens_of_another_tokenizer_are_refused(token: int, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"input_ids": [5, token]}, {"input_ids": [5, 6]}])
    settings = {"model_name_or_path": str(DEMO), "dataset_name": str(tmp_path / "rows.jsonl")}
    (found,) = tokenizer_complaints(settings, same, load_rows(settings, same))
    assert str(found).startswith(f"input_ids holds the token {token}, and the model's tokenizer has 2048")
