"""The step rows of a real SFTTrainer on toy models: complete, in order, and the trainer's own numbers."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.store.columns import STEPS
from sweep.store.store import Row
from tests import toys
from tests.test_meters import FakeCuda
from trainables.training.callback import StepRows
from trainables.training.meters import Memory

TEXTS = [" ".join(["return the sum of numbers"] * (1 + number % 5)) for number in range(24)]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("toy") / request.param, request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.model(tmp_path_factory.mktemp("toy") / "llama", "llama")


def trainer(model: Path, output: Path, rows: StepRows, **settings: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    standard: dict[str, Any] = {
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "activation_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    data = Dataset.from_dict({"text": TEXTS})
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=SFTConfig(output_dir=str(output), **{**standard, **settings}),
        train_dataset=data,
        eval_dataset=data.select(range(4)),
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[rows],
    )


class Batches:
    """What the collator handed to training, as the mask's sum and the positions of each batch."""

    def __init__(self, made: Any) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._collate, made.data_collator = made.data_collator, self

    def __call__(self, examples: list[Any]) -> Any:
        batch = self._collate(examples)
        self.tokens.append(int(batch["attention_mask"].sum()))
        self.positions.append(batch["attention_mask"].numel())
        return batch


def in_groups(numbers: list[int], size: int) -> Iterator[int]:
    return (sum(numbers[start : start + size]) for start in range(0, len(numbers), size))


def train(model: Path, output: Path, resume: str | None = None, **settings: Any) -> tuple[list[Row], Any, StepRows]:
    rows: list[Row] = []
    callback = StepRows(rows.append, base={"trial_id": "toy", "attempt": 1}, memory=Memory(None))
    made = trainer(model, output, callback, **settings)
    made.train(resume_from_checkpoint=resume)
    return rows, made, callback


def before(made: Any, name: str, act: Callable[[], None]) -> None:
    """Makes a method of the trainer do something first."""
    inner = getattr(made, name)

    def both(*args: Any, **kwargs: Any) -> Any:
        act()
        return inner(*args, **kwargs)

    setattr(made, name, both)


def column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def logged(made: Any, name: str, beside: str = "loss") -> list[Any]:
    return [logs[name] for logs in made.state.log_history if beside in logs]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_rows_are_the_trainers_numbers(folder: Path, tmp_path: Path, accumulation: int) -> None:
    rows: list[Row] = []
    callback = StepRows(rows.append, base={"trial_id": "toy", "attempt": 1}, memory=Memory(None))
    made = trainer(folder, tmp_path, callback, gradient_accumulation_steps=accumulation, per_device_train_batch_size=2)
    batches = Batches(made)
    made.train()
    assert column(rows, "step") == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]) == {column.name for column in STEPS}
    for name in ("loss", "learning_rate", "grad_norm", "epoch"):
        assert column(rows, name) == logged(made, name)
    assert column(rows, "tokens") == list(in_groups(batches.tokens, accumulation))[:6]
    work = callback.throughput._sum(callback.throughput._first)
    assert work.positions == sum(batches.positions[: 6 * accumulation])
    assert work.samples == 6 * accumulation * 2
    assert column(rows, "timestamp") == sorted(column(rows, "timestamp"))
    assert all(row["step_time_s"] > 0 and row["peak_memory_allocated_bytes"] is None for row in rows)
    assert not made.model._forward_pre_hooks


def test_an_evaluation_is_in_its_steps_row(llama: Path, tmp_path: Path) -> None:
    rows, made, _ = train(llama, tmp_path, eval_strategy="steps", eval_steps=2, max_steps=5)
    assert column(rows, "step") == [1, 2, 3, 4, 5]
    evaluated = dict(zip(logged(made, "step", "eval_loss"), logged(made, "eval_loss", "eval_loss"), strict=True))
    assert set(evaluated) == {2, 4, 5}, "the trainer evaluates at the end too"
    assert column(rows, "eval_loss") == [evaluated.get(number) for number in range(1, 6)]


def test_an_evaluation_at_an_epochs_end_is_in_its_last_steps_row(llama: Path, tmp_path: Path) -> None:
    rows, made, _ = train(llama, tmp_path, eval_strategy="epoch", max_steps=-1, num_train_epochs=2)
    assert column(rows, "step") == list(range(1, 13))
    assert [row["step"] for row in rows if row["eval_loss"] is not None] == [6, 12]
    assert [rows[5]["eval_loss"], rows[11]["eval_loss"]] == logged(made, "eval_loss", "eval_loss")


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_training_and_evaluation_are_measured_apart(llama: Path, tmp_path: Path, strategy: str) -> None:
    cuda, rows = FakeCuda(), list[Row]()
    callback = StepRows(rows.append, memory=Memory(cuda))
    made = trainer(llama, tmp_path, callback, eval_strategy=strategy, eval_steps=3, max_steps=-1, num_train_epochs=2)
    before(made, "training_step", lambda: cuda.use(100))
    before(made, "evaluation_loop", lambda: cuda.use(900))
    made.train()
    assert {row["peak_memory_allocated_bytes"] for row in rows} == {100}
    assert callback.memory.evaluation_peak_bytes == 900
    assert callback.throughput._sum(callback.throughput._first).samples == 2 * len(TEXTS)


def test_an_evaluation_at_the_start_is_none_of_trainings_peak(llama: Path, tmp_path: Path) -> None:
    cuda, rows = FakeCuda(), list[Row]()
    callback = StepRows(rows.append, memory=Memory(cuda))
    made = trainer(llama, tmp_path, callback, eval_on_start=True, max_steps=2)
    before(made, "training_step", lambda: cuda.use(100))
    before(made, "evaluation_loop", lambda: cuda.use(900))
    made.train()
    assert {row["peak_memory_allocated_bytes"] for row in rows} == {100}
    assert callback.memory.evaluation_peak_bytes == 900


def test_tokens_after_a_resume_are_the_steps_own(llama: Path, tmp_path: Path) -> None:
    whole, _, _ = train(llama, tmp_path / "a", save_strategy="steps", save_steps=3)
    rest, _, _ = train(llama, tmp_path / "b", resume=str(tmp_path / "a" / "checkpoint-3"))
    assert column(rest, "step") == [4, 5, 6]
    assert column(rest, "tokens") == column(whole[3:], "tokens")
    assert column(rest, "loss") == column(whole[3:], "loss")


@pytest.mark.parametrize("padding_free", [False, True])
def test_padding_is_what_the_collator_added(llama: Path, tmp_path: Path, padding_free: bool) -> None:
    import trl.trainer.sft_trainer as sft

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft.logger, "warning", lambda *_: None)  # no flash attention here: only shapes matter
        settings: dict[str, Any] = {"padding_free": True, "max_length": None} if padding_free else {}
        _, _, callback = train(llama, tmp_path, **settings)
    share = callback.throughput.result()["padding_share"]
    assert share is not None and (share == 0 if padding_free else 0 < share < 1)
    assert callback.throughput._sum(callback.throughput._first).samples == 24


def test_a_stop_ends_training_with_the_step_it_came_in(llama: Path, tmp_path: Path) -> None:
    rows: list[Row] = []
    callback = StepRows(rows.append, memory=Memory(None), should_stop=lambda: len(rows) >= 2)
    made = trainer(llama, tmp_path, callback)
    made.train()
    assert column(rows, "step") == [1, 2, 3]
    assert made.state.global_step == 3


def test_a_stop_during_an_evaluation_ends_training_there(llama: Path, tmp_path: Path) -> None:
    rows: list[Row] = []
    stop = threading.Event()
    callback = StepRows(rows.append, memory=Memory(None), should_stop=stop.is_set)
    made = trainer(llama, tmp_path, callback, eval_strategy="steps", eval_steps=2)
    before(made, "evaluation_loop", stop.set)
    made.train()
    assert column(rows, "step") == [1, 2]
    assert rows[1]["eval_loss"] is not None


def test_a_loss_that_is_no_number_ends_training_with_its_row(llama: Path, tmp_path: Path) -> None:
    rows: list[Row] = []
    callback = StepRows(rows.append, memory=Memory(None))
    made = trainer(llama, tmp_path, callback, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1)
    compute = made.compute_loss
    made.compute_loss = lambda *args, **kwargs: compute(*args, **kwargs) * (float("nan") if len(rows) == 2 else 1.0)
    made.train()
    assert callback.diverged
    assert column(rows, "step") == [1, 2, 3]
    assert rows[2]["loss"] != rows[2]["loss"]
    assert not (tmp_path / "checkpoint-3").exists(), "what has diverged is not worth keeping"


def test_a_row_that_waits_is_emitted_when_its_evaluation_fails(llama: Path, tmp_path: Path) -> None:
    rows: list[Row] = []
    callback = StepRows(rows.append, memory=Memory(None))
    made = trainer(llama, tmp_path, callback, eval_strategy="steps", eval_steps=2)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no memory left")

    made.evaluation_loop = fail
    with pytest.raises(RuntimeError, match="no memory left"):
        made.train()
    callback.close()
    assert column(rows, "step") == [1, 2]
    assert not made.model._forward_pre_hooks


def test_throughput_leaves_evaluation_and_saving_out(llama: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from trainables.training import callback as module

    class Slow:
        now = 0.0

        @classmethod
        def perf_counter(cls) -> float:
            return cls.now

    monkeypatch.setattr(module, "time", Slow)
    rows: list[Row] = []
    callback = StepRows(rows.append, memory=Memory(None))
    made = trainer(llama, tmp_path, callback, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=3)

    def passes(seconds: float) -> None:
        Slow.now += seconds

    before(made, "training_step", lambda: passes(1.0))
    before(made, "evaluation_loop", lambda: passes(100.0))
    before(made, "_save_checkpoint", lambda: passes(100.0))
    before(made, "get_batch_samples", lambda: passes(0.5))
    made.train()
    assert column(rows, "step_time_s") == [1.0] * 6
    assert callback.throughput.result()["steps_per_second"] == pytest.approx(1 / 1.5), "waiting for data is training"


def test_importing_the_meters_loads_neither_torch_nor_ray() -> None:
    code = "import sys, trainables.training.meters; sys.exit(bool({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
