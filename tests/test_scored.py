"""Further held-out sets and prompts to generate from: what is read, tokenized and refused before anything starts."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from sweep.config.layers import resolve as configured
from sweep.errors import Complaint, ConfigError
from sweep.space import SCORE_SETTINGS, trials
from tests import toys
from trainables.data.rows import DEFAULT_MOST, load_rows
from trainables.data.tokens import data_key, prepare
from trainables.scored import prompts, sets
from trainables.scored.scored import Scored
from trainables.sft import SFT

Settings = dict[str, Any]
CHAT = [{"role": "user", "content": "sum 1 2"}, {"role": "assistant", "content": "3"}]
MORE = [*CHAT, {"role": "user", "content": "again"}, {"role": "assistant", "content": "three"}]
TURNS = [{"from": message["role"], "value": message["content"]} for message in MORE]
PAIR = {"prompt": "# sum 1 2\n", "completion": " 3\n"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("toy") / "llama")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rows_file(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings_of(folder: Path, model: Path, rows: list[Any], **more: Any) -> Settings:
    """Of a sweep on a file of rows, a few of them held out."""
    return {
        "dataset_name": rows_file(folder / "rows.jsonl", rows),
        "model_name_or_path": str(model),
        "test_split_size": 3,
        "max_length": 64,
        **more,
    }


def problems(settings: Settings) -> list[str]:
    return [str(one) for one in SFT().check(trials(settings, [8], [0], {}, "fixed"), str)]


# --- settings --------------------------------------------------------------------------------------------------------


def test_a_set_may_be_named_several_times_and_several_at_a_time() -> None:
    words = "--dataset_name d.json --model_name_or_path m --eval_dataset_name a.json b.json --eval_dataset_name c.json"
    config, wrong = configured(words.split(), False)
    assert config is not None and wrong == []
    assert config.settings["eval_dataset_name"] == ["a.json", "b.json", "c.json"]


def test_what_is_scored_makes_no_other_trial_but_other_tokens() -> None:
    """Training is the same, so a sweep goes on with its trials; what its trials share is not."""
    base: Settings = {"dataset_name": "D", "model_name_or_path": "M"}
    more: Settings = {"eval_dataset_name": ["a"], "eval_dataset_config": "c", "eval_generation": "exact_match"}
    assert more.keys() == set(SCORE_SETTINGS)
    (one,), (other,) = (trials(settings, [8], [0], {}, "fixed") for settings in (base, {**base, **more}))
    assert one.trial_id == other.trial_id
    assert len({data_key(base), *(data_key({**base, key: value}) for key, value in more.items())}) == 4


# --- further sets ----------------------------------------------------------------------------------------------------

FORMS: dict[str, list[Any]] = {
    "pairs": [PAIR],
    "messages": [{"messages": MORE}],
    "conversations": [{"conversations": TURNS}],
    "text": [{"text": "sum 1 2 is 3"}],
    "instructions": [{"instruction": "sum", "input": "1 2", "output": "3"}],
}


@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("main", ["pairs", "assistant only"])
def test_a_set_has_the_tokens_that_its_rows_have_as_held_out_rows(
    rows: list[Any], main: str, tmp_path: Path, model: Path
) -> None:
    """Whatever the form of the data set itself: what only its rows can serve is not asked of others."""
    assistant = {"assistant_only_loss": main == "assistant only"}
    given = [{"messages": CHAT}] if main == "assistant only" else [PAIR]
    settings = settings_of(tmp_path, model, given * 6, max_length=200, **assistant)
    name = rows_file(tmp_path / "further.jsonl", rows * 4)
    one = sets.load_set(name, {**settings, "eval_dataset_name": [name]}, str)
    table, warnings = sets.tokens_of(one, settings, str)
    chats = "messages" in rows[0]
    alone = {
        **settings,
        "dataset_name": name,
        "test_split_size": 2,
        "assistant_only_loss": assistant["assistant_only_loss"] and chats,
    }
    theirs = prepare(load_rows(alone, str), alone, str).held_out
    assert table.num_rows == 4 and warnings == []
    assert set(theirs.column_names) == set(table.column_names)
    for column in ("input_ids", "labels", "bytes", "content_hash", "group"):
        assert table[column].to_pylist() == 2 * theirs[column].to_pylist(), column
    assert table["example_id"].to_pylist() == [0, 1, 2, 3]


def test_a_large_set_is_drawn_from_once(tmp_path: Path, model: Path) -> None:
    settings = settings_of(tmp_path, model, [PAIR] * 6)
    name = rows_file(tmp_path / "large.jsonl", [{"text": f"row {n}"} for n in range(DEFAULT_MOST + 200)])
    one, again = (sets.load_set(name, settings, str) for _ in range(2))
    assert (one.count, one.of) == (DEFAULT_MOST, DEFAULT_MOST + 200)
    assert str(one).endswith("large.jsonl: 1,000 rows of 1,200, drawn once")
    drawn = [int(row["text"].split()[1]) for row in one.rows.held_out]
    assert drawn == sorted(drawn) and max(drawn) >= DEFAULT_MOST
    assert one.rows.fingerprint == again.rows.fingerprint


def test_rows_of_a_set_that_are_trained_on_are_counted(tmp_path: Path, model: Path) -> None:
    """They are learned, whatever is forgotten."""
    own = [{**PAIR, "completion": f" {n}\n"} for n in range(12)]
    settings = settings_of(tmp_path, model, own)
    rows = load_rows(settings, str)
    (tmp_path / "other").mkdir()
    named = [settings["dataset_name"], rows_file(tmp_path / "other" / "rows.jsonl", [{"text": "sum 1 2"}])]
    made = Scored().made(rows, prepare(rows, settings, str), {**settings, "eval_dataset_name": named}, str)
    assert list(made.sets) == named
    (line,) = made.warnings
    assert line.startswith(
        f"{named[0]}: 9 of 12 rows also occur among the training rows, word for word: forgetting looks"
    )


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (("train.jsonl", "test.jsonl"), "test.jsonl"),
        (("a.jsonl",), "a.jsonl"),
        (("train.jsonl", "validation.jsonl"), None),
    ],
)
def test_the_split_is_the_test_split_or_the_only_one(
    files: tuple[str, ...], text: str | None, tmp_path: Path, model: Path
) -> None:
    (tmp_path / "set").mkdir()
    for name in files:
        rows_file(tmp_path / "set" / name, [{"text": name}])
    settings = settings_of(tmp_path, model, [PAIR] * 6)
    if text is None:
        with pytest.raises(
            ConfigError, match=r"--eval_dataset_name .*has no split 'test', and several others: train, validation"
        ):
            sets.load_set(str(tmp_path / "set"), settings, str)
    else:
        assert sets.load_set(str(tmp_path / "set"), settings, str).rows.held_out["text"][:] == [text]


def test_everything_that_is_wrong_with_sets_is_said_at_once_under_their_own_flag(tmp_path: Path, model: Path) -> None:
    odd = rows_file(tmp_path / "odd.jsonl", [{"colour": "red"}])
    settings = settings_of(
        tmp_path,
        model,
        [PAIR] * 6,
        eval_dataset_name=["./nowhere.json", odd, "", {"path": "./a.json"}],
        eval_generation="bleu",
    )
    found = problems(settings)
    assert len(found) == 5 and "{'path': './a.json'}" in found[4]
    assert found[3] == "--eval_dataset_name: expected files or Hub names, got '' among them. Correct it."
    assert found[0].startswith("--eval_generation: expected exact_match, got 'bleu'")
    assert found[1] == "--eval_dataset_name: there is no file or folder './nowhere.json'. Correct the path."
    assert "odd.jsonl: no columns to train on among 'colour'" in found[2]


def test_a_conversation_needs_a_chat_template_in_a_further_set_too(tmp_path: Path, model: Path) -> None:
    plain = toys.model(tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    chats = rows_file(tmp_path / "chats.jsonl", [{"messages": MORE}])
    (found,) = problems(settings_of(tmp_path, plain, [PAIR] * 6, eval_dataset_name=[chats]))
    assert found.startswith("--chat_template_path: the rows are conversations")


# --- prompts ---------------------------------------------------------------------------------------------------------


def prompts_of(folder: Path, model: Path, rows: list[Any], **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    settings = settings_of(folder, model, rows, **more)
    loaded = load_rows(settings, str)
    made = prepare(loaded, settings, str)
    table, warnings = prompts.prompts(loaded, made.held_out, settings, str)
    return table.to_pylist(), warnings


@pytest.mark.parametrize(
    ("row", "prompt", "expected"),
    [
        (PAIR, "# sum 1 2\n", " 3\n"),
        ({**PAIR, "completion": " 3</s>"}, "# sum 1 2\n", " 3"),
        ({"messages": CHAT}, "<user>sum 1 2</s><assistant>", "3"),
        ({"messages": MORE}, "<user>sum 1 2</s><assistant>3</s><user>again</s><assistant>", "three"),
        ({"conversations": TURNS}, "<user>sum 1 2</s><assistant>3</s><user>again</s><assistant>", "three"),
        (
            {"prompt": MORE[:3], "completion": MORE[3:]},
            "<user>sum 1 2</s><assistant>3</s><user>again</s><assistant>",
            "three",
        ),
        (
            {"instruction": "sum", "input": "", "output": "3"},
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
            "### Instruction:\nsum\n\n### Response:\n",
            "3",
        ),
    ],
    ids=["pair", "pair with its end", "messages", "last turn", "from and value", "pair of messages", "instruction"],
)
def test_a_prompt_ends_where_the_last_answer_begins(
    row: dict[str, Any], prompt: str, expected: str, tmp_path: Path, model: Path
) -> None:
    found, warnings = prompts_of(tmp_path, model, [row] * 6, max_length=200)
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert len(found) == 3 and warnings == []
    for one in found:
        assert tokenizer.decode(one["prompt"]) == prompt and one["expected"] == expected
        assert one["longest"] == len(tokenizer(expected, add_special_tokens=False)["input_ids"]) + prompts.SLACK


def test_a_prompt_is_written_with_the_template_and_the_end_that_training_has(tmp_path: Path, model: Path) -> None:
    (tmp_path / "own.jinja").write_text(
        toys.CHAT_TEMPLATE.replace("<{{ message['role'] }}>", "[{{ message['role'] }}]")
    )
    found, _ = prompts_of(tmp_path, model, [{"messages": CHAT}] * 6, chat_template_path=str(tmp_path / "own.jinja"))
    assert AutoTokenizer.from_pretrained(model).decode(found[0]["prompt"]) == "[user]sum 1 2</s><assistant>"


def test_what_a_template_writes_into_the_answers_turn_is_part_of_the_reference(tmp_path: Path, model: Path) -> None:
    """As Qwen3's does, with a block for the reasoning that is empty where a message has none."""
    (tmp_path / "thinks.jinja").write_text(
        toys.CHAT_TEMPLATE.replace("{% generation %}", "{% generation %}<think>{{ message['reasoning'] }}</think>")
    )
    thinks = [CHAT[0], {**CHAT[1], "reasoning": "3, or 4"}]
    found, _ = prompts_of(
        tmp_path, model, [{"messages": thinks}] * 6, chat_template_path=str(tmp_path / "thinks.jinja")
    )
    assert {one["expected"] for one in found} == {"<think>3, or 4</think>3"}
    found, _ = prompts_of(tmp_path, model, [{"messages": CHAT}] * 6, chat_template_path=str(tmp_path / "thinks.jinja"))
    assert {one["expected"] for one in found} == {"<think></think>3"}


def test_rows_that_training_cuts_or_that_have_no_answer_are_left_out_and_counted(tmp_path: Path, model: Path) -> None:
    (tmp_path / "set").mkdir()
    rows_file(tmp_path / "set" / "train.jsonl", [{"messages": CHAT}] * 3)
    long = [CHAT[0], {"role": "assistant", "content": "🙂" * 40}]
    rows_file(tmp_path / "set" / "test.jsonl", [{"messages": MORE[:3]}, {"messages": CHAT}, {"messages": long}])
    settings = {**settings_of(tmp_path, model, []), "dataset_name": str(tmp_path / "set"), "test_split_size": None}
    loaded = load_rows(settings, str)
    table, warnings = prompts.prompts(loaded, prepare(loaded, settings, str).held_out, settings, str)
    assert table["example_id"].to_pylist() == [1]
    assert warnings[0].startswith("1 of 3 held-out rows end with no answer of the assistant's")
    assert warnings[1].startswith("1 of 3 held-out rows are, prompt and reference together, longer than max_length 64")
    nothing = dataclasses.replace(loaded, held_out=loaded.held_out.select([0]))
    with pytest.raises(ConfigError, match="--eval_generation: there is nothing to generate from: 1 of"):
        prompts.prompts(nothing, prepare(loaded, settings, str).held_out, settings, str)


def test_text_has_no_prompt(tmp_path: Path, model: Path) -> None:
    settings = settings_of(tmp_path, model, [{"text": "sum 1 2"}] * 6, eval_generation="exact_match")
    (found,) = problems(settings)
    assert found.startswith(
        "--eval_generation exact_match: the held-out rows have 'text', in which nothing says where a prompt ends"
    )
    assert problems({**settings, "eval_generation": None}) == []


# --- what a sweep says of them ---------------------------------------------------------------------------------------


def test_a_dry_run_says_their_sizes_and_a_changed_set_is_another_content(tmp_path: Path, model: Path) -> None:
    name = rows_file(tmp_path / "further.jsonl", [{"text": f"row {n}"} for n in range(7)])
    settings = settings_of(tmp_path, model, [PAIR] * 6, eval_dataset_name=[name], eval_generation="exact_match")
    made = trials(settings, [2, 8], [0], {}, "fixed")
    sft = SFT()
    assert sft.scored(made, str) == [
        f"Forgetting: loss before and after training on {name}: 7 rows.",
        "Exact match: 3 held-out prompts to generate from after training.",
    ]
    before = sft.identify(made, str)[made[0].trial_id]
    rows_file(tmp_path / "further.jsonl", [{"text": "other"}])
    after = SFT().identify(made, str)[made[0].trial_id]
    assert {kind for kind in before if before[kind] != after[kind]} == {"eval_data_fingerprint"}
    (without,) = SFT().identify(trials({**settings, "eval_dataset_name": None}, [8], [0], {}, "fixed"), str).values()
    assert "eval_data_fingerprint" not in without


def test_a_complaint_about_a_set_of_the_hub_names_its_own_flags() -> None:
    problem = Complaint("dataset_config", ": check --dataset_config and --dataset_name, ok.")
    assert (
        str(sets._renamed(problem)) == "--eval_dataset_config: check --eval_dataset_config and --eval_dataset_name, ok."
    )


def test_what_is_said_of_the_data_sets_columns_is_not_asked_of_a_set_with_others(tmp_path: Path, model: Path) -> None:
    """A template, and the name of the column with the text."""
    name = rows_file(tmp_path / "further.jsonl", [{"text": "add the numbers"}])
    for settings in (
        settings_of(tmp_path, model, FORMS["instructions"] * 6, prompt_template="{instruction}"),
        settings_of(tmp_path, model, [{"code": "x"}] * 6, dataset_text_field="code"),
    ):
        one = sets.load_set(name, settings, str)
        table, _ = sets.tokens_of(one, settings, str)
        assert AutoTokenizer.from_pretrained(model).decode(table["input_ids"][0].as_py()) == "add the numbers</s>"
