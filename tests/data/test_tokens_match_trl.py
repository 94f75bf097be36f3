"""Tokens are TRL's own, and trained on as if the trainer had made them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sweep.common.quiet import quiet
from tests import toys
from tests.data.token_rows import CHATS, PAIRS, TEXTS, Settings, make, rows_of
from trainables.data.tokens import READY, dataset_of, prepare

# Every way that the preparation can take, by name: rows and settings.
WAYS: dict[str, tuple[list[Any], Settings]] = {
    "completion only": (PAIRS, {"max_length": 40}),
    "whole pairs": (PAIRS, {"max_length": 40, "completion_only_loss": False}),
    "end kept": (PAIRS, {"max_length": 24, "truncation_mode": "keep_end"}),
    "text": (TEXTS, {"max_length": 32}),
    "uncut": (TEXTS, {"max_length": None}),
    "shuffled": (TEXTS, {"max_length": 32, "shuffle_dataset": True, "seed": 3}),
    "packed": (PAIRS, {"max_length": 48, "packing": True}),
    "packed and shuffled": (PAIRS, {"max_length": 48, "packing": True, "shuffle_dataset": True, "seed": 3}),
    "packed and split": (TEXTS, {"max_length": 24, "packing": True, "packing_strategy": "bfd_split"}),
    "wrapped": (TEXTS, {"max_length": 24, "packing": True, "packing_strategy": "wrapped"}),
    "messages": (CHATS, {"max_length": 64}),
    "assistant only": (CHATS, {"max_length": 64, "assistant_only_loss": True}),
    "another end": (TEXTS, {"max_length": 32, "eos_token": "<unk>"}),
}


def trainer(model: Path, folder: Path, train: Any, held_out: Any, **settings: Any) -> Any:
    """A plain SFTTrainer as a user's script would make it."""
    args = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        eval_packing=False,
        save_strategy="no",
        max_steps=5,
        per_device_train_batch_size=4,
        logging_steps=1,
        learning_rate=1e-2,
        **settings,
    )
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=args,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def losses(one: Any) -> list[float]:
    """Of five steps, and the held-out one. To be called before another trainer is made: that one sets the seed."""
    one.train()
    logged = [entry["loss"] for entry in one.state.log_history if "loss" in entry]
    return [*logged, one.evaluate()["eval_loss"]]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning")
@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_a_plain_trainer_makes(way: str, model: Path, cache: Path, tmp_path: Path) -> None:
    given, settings = WAYS[way]
    rows = rows_of(given)
    with quiet():
        plain = trainer(model, tmp_path, rows.train, rows.held_out, **settings)
    made = make(given, cache, model, **settings)
    packed = ["seq_lengths"] if settings.get("packing") and settings.get("packing_strategy") != "wrapped" else []
    assert made.train.column_names[:2] == ["input_ids", "labels"]
    assert set(packed) <= set(made.train.column_names)
    assert made.train.to_pylist() == plain.train_dataset.select_columns(made.train.column_names).to_list()
    columns = ["input_ids", "labels"]
    assert made.held_out.select(columns).to_pylist() == plain.eval_dataset.select_columns(columns).to_list()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.parametrize(
    ("way", "architecture"),
    [
        ("completion only", "llama"),
        ("completion only", "gpt2"),
        ("completion only", "opt"),
        ("text", "opt"),
        ("packed", "llama"),
        ("packed", "opt"),
        ("assistant only", "gpt2"),
        ("shuffled", "llama"),
    ],
)
def test_training_on_shared_tokens_has_the_losses_of_a_plain_trainer(
    way: str, architecture: str, ray: Any, cache: Path, tmp_path: Path, one_thread: None
) -> None:
    given, settings = WAYS[way]
    model = toys.model(tmp_path / "model", architecture)
    rows = rows_of(given)
    made = make(given, cache, model, **settings)
    train, held_out = (dataset_of(table) for table in ray.get([ray.put(made.train), ray.put(made.held_out)]))
    with quiet():
        plain = losses(trainer(model, tmp_path / "a", rows.train, rows.held_out, **settings))
        ours = losses(trainer(model, tmp_path / "b", train, held_out, **{**settings, **READY}))
    assert len(plain) == 6
    assert plain == ours


def test_a_shared_table_is_not_copied_nor_written(ray: Any, cache: Path, model: Path) -> None:
    table = ray.get(ray.put(make(TEXTS, cache, model).train))
    data = dataset_of(table)
    addresses = [one["input_ids"].chunk(0).values.buffers()[1].address for one in (table, data.data.table)]
    assert addresses[0] == addresses[1]
    assert data.cache_files == []
    assert data.to_list() == table.to_pylist()


def test_a_data_set_is_named_by_its_key(cache: Path, model: Path) -> None:
    """Without a name the library would hash the whole table to make one."""
    made, again = make(TEXTS, cache, model), make(TEXTS, cache / "other", model)
    names = [dataset_of(table)._fingerprint for table in (made.train, again.train, made.held_out)]
    assert names == [f"{made.key}-train", f"{made.key}-train", f"{made.key}-held_out"]


@pytest.mark.parametrize("kind", ["jinja", "tokenizer"])
def test_a_chat_template_is_cloned(kind: str, model: Path, cache: Path, tmp_path: Path) -> None:
    other = toys.tokenizer(tmp_path / "other", lines=("quite other words\n",))
    template = toys.CHAT_TEMPLATE.replace("<{{ message['role'] }}>", "[{{ message['role'] }}]")
    (other / "chat_template.jinja").write_text(template)
    path = other / "chat_template.jinja" if kind == "jinja" else other
    resolved = prepare(
        rows_of(CHATS),
        {"model_name_or_path": "M", "chat_template_path": "T"},
        {"M": str(model), "T": str(path)}.__getitem__,
        cache,
    )
    text = AutoTokenizer.from_pretrained(model).decode(resolved.held_out["input_ids"][0].as_py())
    assert text.startswith("[user]")
    assert resolved.key != make(CHATS, cache, model).key
