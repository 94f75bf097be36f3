"""Rows: what they become, and which are held out."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from sweep.common.quiet import quiet
from tests.data.sources import ROWS, complaint, load, write_csv, write_json, write_jsonl, write_parquet
from trainables.data.forms import ALPACA_WITH_INPUT, ALPACA_WITHOUT_INPUT
from trainables.data.rows import held_out_count


def test_instructions_become_alpacas_prompt_by_whether_there_is_input(reference: Any) -> None:
    seen = {*reference.train["prompt"], *reference.held_out["prompt"]}
    assert seen == {(ALPACA_WITH_INPUT if row["input"] else ALPACA_WITHOUT_INPUT).format(**row) for row in ROWS}


def test_a_prompt_template_of_ones_own(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json")
    rows = load(tmp_path / "rows.json", prompt_template="# {instruction} {{{input}}}\n", test_split_size=1)
    assert {f"# Füge {i} hinzu 🙂 {{{'' if i % 2 else f'数 {i}'}}}\n" for i in range(40)} == {
        *rows.train["prompt"],
        *rows.held_out["prompt"],
    }
    assert not rows.warnings
    without = load(tmp_path / "rows.json", prompt_template="# {instruction}\n")
    assert "20 of 40" in without.warnings[0]


def test_a_missing_input_column_is_as_an_empty_one(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [{"instruction": f"{i}", "output": "x"} for i in range(3)])
    write_json(tmp_path / "b.json", [{"instruction": f"{i}", "input": None, "output": "x"} for i in range(3)])
    for template in (None, "{instruction} {input}\n"):
        without, empty = (load(tmp_path / name, prompt_template=template) for name in ("a.json", "b.json"))
        assert without.fingerprint == empty.fingerprint
        assert not any("None" in prompt for prompt in without.train["prompt"])


def chat(i: int, role: str = "role", content: str = "content") -> list[dict[str, str]]:
    return [{role: "user", content: f"ask {i}"}, {role: "assistant", content: "tell"}]


FORMS: dict[str, tuple[list[Any], list[str]]] = {
    "text": ([{"text": f"t{i}", "label": 1} for i in range(4)], ["text"]),
    "pair": ([{"prompt": f"p{i}", "completion": "c", "text": "t"} for i in range(4)], ["prompt", "completion"]),
    "chat pair": ([{"prompt": chat(i)[:1], "completion": chat(i)[1:]} for i in range(4)], ["prompt", "completion"]),
    "messages": ([{"messages": chat(i), "source": "x"} for i in range(4)], ["messages"]),
    "tools": ([{"messages": chat(i), "tools": "[]"} for i in range(4)], ["messages", "tools"]),
    "turns": ([{"conversations": chat(i, "from", "value")} for i in range(4)], ["conversations"]),
    "conversations of roles": ([{"conversations": chat(i)} for i in range(4)], ["messages"]),
    "text wins over instruction": ([{**ROWS[i], "text": f"t{i}"} for i in range(4)], ["text"]),
}


@pytest.mark.parametrize("name", FORMS)
def test_only_the_columns_of_the_form_are_kept(name: str, tmp_path: Path) -> None:
    given, columns = FORMS[name]
    write_jsonl(tmp_path / "rows.jsonl", given)
    rows = load(tmp_path / "rows.jsonl")
    assert rows.train.column_names == rows.held_out.column_names == columns


def test_a_template_asks_for_instructions_and_a_text_field_names_its_column(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{**row, "text": "t", "code": row["output"]} for row in ROWS])
    assert load(tmp_path / "rows.json", prompt_template="{instruction}{input}").train.column_names == [
        "prompt",
        "completion",
    ]
    assert load(tmp_path / "rows.json", dataset_text_field="code").train.column_names == ["code"]


# --- the held-out split ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "size", "count"),
    [(40, None, 4), (5, None, 1), (20_022, None, 1_000), (40, 7, 7), (40, 0.25, 10), (3, 0.01, 1)],
)
def test_how_many_rows_are_held_out(rows: int, size: float | int | None, count: int) -> None:
    assert held_out_count(rows, size) == count


def test_the_split_is_a_partition_in_the_sources_order_whatever_the_seed(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": f"{i:02}"} for i in range(40)])
    rows = load(tmp_path / "rows.json", test_split_size=10, seed=1)
    train, held_out = list(rows.train["text"]), list(rows.held_out["text"])
    assert sorted(train + held_out) == [f"{i:02}" for i in range(40)]
    assert (train, held_out) == (sorted(train), sorted(held_out))
    assert held_out != [f"{i:02}" for i in range(30, 40)]
    assert (
        load(tmp_path / "rows.json", test_split_size=10, seed=2, shuffle_dataset=True).fingerprint == rows.fingerprint
    )


def test_another_split_seed_holds_out_other_rows(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": f"{i:02}"} for i in range(40)])
    found = [load(tmp_path / "rows.json", test_split_size=10, test_split_seed=seed) for seed in (None, 0, 1, 1)]
    held_out = [tuple(rows.held_out["text"]) for rows in found]
    assert {len(rows) for rows in held_out} == {10}
    assert len(set(held_out)) == len({rows.fingerprint for rows in found}) == 3
    assert held_out[0] == tuple(load(tmp_path / "rows.json", test_split_size=10).held_out["text"])
    for rows in found:
        assert sorted([*rows.train["text"], *rows.held_out["text"]]) == [f"{i:02}" for i in range(40)]


@pytest.mark.parametrize("kind", ["saved", "folder"])
def test_a_test_split_of_the_source_is_used(kind: str, tmp_path: Path) -> None:
    place = tmp_path / kind
    if kind == "saved":
        with quiet():
            DatasetDict(train=Dataset.from_list(ROWS[:30]), test=Dataset.from_list(ROWS[30:])).save_to_disk(place)
    else:
        place.mkdir()
        write_parquet(place / "train-00000-of-00001.parquet", ROWS[:30])
        write_parquet(place / "test-00000-of-00001.parquet", ROWS[30:])
        write_parquet(place / "validation.parquet", ROWS[:5])
    rows = load(place, test_split_size=3, test_split_seed=1)
    assert (len(rows.train), len(rows.held_out)) == (30, 10)
    unused = [warning.partition(" is not used")[0] for warning in rows.warnings]
    assert unused == ["--test_split_size", "--test_split_seed"]


@pytest.mark.parametrize("kind", [str, int])
def test_clusters_are_held_out_whole(kind: type, tmp_path: Path) -> None:
    rows = [{**row, "problem": kind(place // 4)} for place, row in enumerate(ROWS)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    found = load(tmp_path / "rows.jsonl", dataset_group="problem", test_split_size=6)
    assert found.clusters.to_pylist() == sorted(found.clusters.to_pylist(), key=int)
    assert [found.clusters.to_pylist().count(name) for name in set(found.clusters.to_pylist())] == [4, 4]
    assert found.held_out.column_names == found.train.column_names == ["prompt", "completion"]
    assert found.fingerprint != load(tmp_path / "rows.jsonl", test_split_size=6).fingerprint


def test_a_row_without_a_cluster_is_its_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [{**row, "problem": None} for row in ROWS])
    found = load(tmp_path / "rows.jsonl", dataset_group="problem", test_split_size=6)
    assert found.clusters.to_pylist() == [None] * 6


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        (["a"] * 40, "problem", "take every cluster, since clusters are not split"),
        (["a"] * 40, "source", "'source': .* has no such column, it has .*'problem'"),
        ([[1]] * 40, "problem", "Use strings or whole numbers"),
    ],
)
def test_clusters_that_cannot_be_used_are_a_complaint(
    values: list[Any], name: str, message: str, tmp_path: Path
) -> None:
    rows = [{**row, "problem": value} for row, value in zip(ROWS, values, strict=True)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert re.search(message, complaint(tmp_path / "rows.jsonl", dataset_group=name))


def test_held_out_rows_that_are_trained_on_too_are_counted(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"text": "same"}] * 20)
    assert "2 of 2 held-out rows also occur among the training rows" in load(tmp_path / "rows.json").warnings[0]


def test_the_fingerprint_is_of_content(tmp_path: Path, reference: Any) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_csv(tmp_path / "elsewhere" / "other.csv")
    assert load(tmp_path / "elsewhere" / "other.csv").fingerprint == reference.fingerprint
    for changed in (ROWS[::-1], [*ROWS[:-1], {**ROWS[-1], "output": "print( 39)"}]):
        write_json(tmp_path / "changed.json", changed)
        assert load(tmp_path / "changed.json").fingerprint != reference.fingerprint
    write_json(tmp_path / "rows.json")
    assert load(tmp_path / "rows.json", test_split_size=5).fingerprint != reference.fingerprint


def test_the_fingerprint_is_the_same_in_another_process(tmp_path: Path, reference: Any) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    load = f"load_rows({{'dataset_name': {str(tmp_path / 'rows.jsonl')!r}}}, str)"
    code = f"from trainables.data.rows import load_rows\nprint({load}.fingerprint)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == reference.fingerprint
