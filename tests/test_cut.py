"""The largest rank's adapter cut to smaller ones: what is measured, and that nothing else of the trial changes."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.contract.trainable import Context
from sweep.space import smaller_ranks, trials
from sweep.store.store import Row
from tests.test_meters import FakeCuda
from tests.untuned import context_of, settings
from trainables.data.tokens import data_key
from trainables.training import cut, evaluate
from trainables.training.meters import Memory
from trainables.training.train import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # peft asks under the old name
]

TIMES = ("train_runtime", "per_second")
RANK, BATCH = 8, 3


def trained(folder: Path, smaller: tuple[int, ...] = (4, 2), **given: Any) -> tuple[Row, Context]:
    """A trial of rank 8, at a rate at which two steps make a difference."""
    folder.mkdir(exist_ok=True)
    base = {**settings(folder), "learning_rate": 0.1, "max_steps": 4, "per_device_train_batch_size": 8, **given}
    (trial,) = trials(base, [RANK], [0], {}, "fixed")
    context = context_of(trial, folder, smaller_ranks=smaller)
    return train(context), context


class Trained:
    """A trainer whose adapter can be changed and evaluated."""

    def __init__(self, trainer: Any, table: Any) -> None:
        self.trainer, self.table = trainer, table

    def loss(self) -> float:
        return evaluate.mean_loss(evaluate.held_out(self.trainer, self.table, BATCH)) or 0.0

    def cut(self, *ranks: int) -> dict[int, Any]:
        return cut.losses(self.trainer, self.table, BATCH, ranks)

    def randomize(self, rank: int, scale: float = 1.0) -> None:
        """Gives every layer a product of that rank, of which all eight directions of the factors take part."""
        import torch

        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for down, up in cut._factors(self.trainer.model):
                mixed = torch.randn(rank, RANK, generator=generator)
                up.copy_(scale * torch.randn(len(up), rank, generator=generator) @ mixed)
                down.copy_(torch.randn(down.shape, generator=generator) / down.shape[1] ** 0.5)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Trained:
    """After training, before its adapter is cut. The test's parameter, if it has one, is what the trial is given."""
    kept: list[Trained] = []

    def columns(context: Context, trainer: Any, held_out: Any, outcome: Row) -> Row:
        kept.append(Trained(trainer, held_out.held_out))
        return {}

    monkeypatch.setattr(cut, "columns", columns)
    trained(tmp_path / "made", **getattr(request, "param", {}))
    return kept[0]


@pytest.mark.parametrize(
    "made",
    [{}, {"use_rslora": True}, {"use_dora": True}, {"lora_alpha": 3, "lora_target_modules": "all-linear"}],
    indirect=True,
)
def test_an_adapter_cut_to_a_rank_that_holds_it_has_the_same_loss(made: Trained) -> None:
    whole = made.loss()
    assert made.cut(RANK)[RANK] == pytest.approx(whole, rel=1e-6)
    made.randomize(rank=2)
    of_two = made.loss()
    assert abs(of_two - whole) > 1e-2
    found = made.cut(1, 2, 4)
    assert [found[2], found[4]] == pytest.approx([of_two, of_two], rel=1e-5)
    assert abs(found[1] - of_two) > 1e-3, "of rank 1 it is another model"


def test_the_cut_is_the_one_that_peft_makes(made: Trained) -> None:
    """`convert_to_lora` decomposes the whole matrices: slow, and written by others."""
    from peft import convert_to_lora

    made.randomize(rank=RANK)
    with pytest.warns(UserWarning, match="already a LoRA adapter"):
        _, weights = convert_to_lora(made.trainer.model, rank=3)
    made.cut(3)
    layers = [name.removesuffix(".lora_A.weight") for name in weights if name.endswith(".lora_A.weight")]
    assert layers
    for name in layers:
        mine = made.trainer.model.get_submodule(name).get_delta_weight("default")
        theirs = weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"]
        assert mine.detach().numpy() == pytest.approx(theirs.numpy(), abs=1e-4 * float(theirs.abs().max()))


def test_a_layer_narrower_than_the_rank_is_cut_as_well(made: Trained) -> None:
    import torch

    down, up = torch.randn(8, 5), torch.randn(6, 8)
    product = up @ down
    cut._decompose(down, up)
    assert (up @ down).numpy() == pytest.approx(product.numpy(), abs=1e-5)
    assert not down[5:].any() and not up[:, 5:].any()


def test_a_trial_of_the_largest_rank_says_what_smaller_ones_would_hold_and_is_the_same_otherwise(
    tmp_path: Path,
) -> None:
    import torch

    said: list[str] = []
    plain, alone = trained(tmp_path / "plain", smaller=())
    state = torch.get_rng_state()
    (tmp_path / "cut").mkdir()
    (trial,) = trials(alone.settings, [RANK], [0], {}, "fixed")
    context = context_of(trial, tmp_path / "cut", smaller_ranks=(2, 4))
    context.phase = lambda phase, rows_left: said.append(phase)
    outcome = train(context)
    found = json.loads(outcome.pop("cut_losses"))
    assert list(found) == ["2", "4"] and all(loss > 0 for loss in found.values())
    assert said[-1] == cut.PHASE
    assert "cut_losses" not in plain
    apart = {key for key in plain if any(part in key for part in TIMES)} | {"peak_rss_bytes"}
    assert {key: outcome[key] for key in plain.keys() - apart} == {key: plain[key] for key in plain.keys() - apart}
    assert outcome.keys() == plain.keys() and context.evals == alone.evals
    assert torch.equal(torch.get_rng_state(), state)
    assert context.final and alone.final
    assert _adapter(context.final) == _adapter(alone.final), "what is kept was never cut"
    gc.collect()
    assert [left() for left in context.leftovers] == [None], "nothing of the model stays in the process"


def _adapter(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    cuda = FakeCuda()
    monkeypatch.setattr(Memory, "of", lambda device: Memory(cuda))
    yield cuda


def test_peaks_are_those_of_the_trial_itself(
    allocator: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.figures.peak_rss_bytes", lambda: allocator.peak)
    inner = cut.losses

    def heavy(*given: Any) -> Any:
        allocator.use(10**12)
        return inner(*given)

    monkeypatch.setattr(cut, "losses", heavy)
    outcome, _ = trained(tmp_path / "made")
    assert "cut_losses" in outcome
    peaks = [outcome[name] for name in outcome if "peak" in name]
    assert len(peaks) == 4 and all(peak is None or peak < 10**12 for peak in peaks)


def test_a_cut_that_fails_is_said_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*anything: Any) -> None:
        raise RuntimeError("the decomposition did not converge")

    monkeypatch.setattr(cut, "_decompose", fail)
    outcome, context = trained(tmp_path / "made")
    assert "cut_losses" not in outcome and outcome["eval_loss"] > 0 and context.final
    assert (
        "could not be cut to smaller ranks: RuntimeError: the decomposition did not converge" in capsys.readouterr().out
    )
    assert context.leftovers[0]() is None, "nothing of the model stays in the process"


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")  # peft, as it saves
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*:UserWarning")
def test_an_adapter_that_is_no_product_of_two_matrices_is_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, _ = trained(tmp_path / "made", lora_target_modules=["q_proj", "embed_tokens"])
    assert "cut_losses" not in outcome and outcome["eval_loss"] > 0
    assert "embed_tokens" in capsys.readouterr().out


def test_it_is_done_only_where_it_takes_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cut.is_cheap(2, 19_065, 45_959), "the demo"
    assert cut.is_cheap(5, 500 * 200, 60_000 * 150)
    assert not cut.is_cheap(5, 1_000_000, 1_000_000)
    outcome, _ = trained(tmp_path / "made", max_steps=1, per_device_train_batch_size=1)
    assert "cut_losses" not in outcome and outcome["eval_loss"] > 0
    assert "would take over 10% of the training" in capsys.readouterr().out


def test_only_the_largest_rank_is_cut() -> None:
    ranks = [8, "full", 2, 32]
    assert smaller_ranks(32, ranks) == (2, 8)  # type: ignore[arg-type]
    assert smaller_ranks(8, ranks) == smaller_ranks(None, ranks) == ()  # type: ignore[arg-type]
    assert smaller_ranks(8, [8]) == smaller_ranks(None, ["full"]) == ()


def test_the_table_of_tokens_is_the_held_out_one(tmp_path: Path) -> None:
    """Cut to its own rank, the trial's adapter has the trial's own loss."""
    outcome, context = trained(tmp_path / "made", smaller=(RANK,))
    assert json.loads(outcome["cut_losses"])[str(RANK)] == pytest.approx(outcome["eval_loss"], rel=1e-6)
    assert context.shared[data_key(context.settings)].held_out.num_rows == len(context.evals)
