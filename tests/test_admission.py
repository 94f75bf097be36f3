"""Which trials fit a card is decided by their predicted peaks, before they start: here without Ray, on toy cards and nodes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.common.names import Resolve
from sweep.config.layers import resolve
from sweep.config.sweep_config import SweepConfig
from sweep.contract.admission import Room, refusal
from sweep.contract.cards import CARDS, most_peak
from sweep.contract.memory import Device, Step
from sweep.contract.predictor import Settings
from sweep.estimate.__main__ import main as estimate
from sweep.estimate.peaks import PredictedPeaks
from sweep.plan import admission, dry_run
from sweep.plan.planning import Plan
from sweep.plan.shrink import Attempted, as_planned, can_shrink, shrunk
from sweep.run.aftermath import reject
from sweep.space import Trial
from sweep.store.store import Store
from trainables.synthetic import Declared, Synthetic

GB = 10**9
A10G_NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "accelerator_type:A10G": 1.0}}
T4_NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 4.0, "accelerator_type:T4": 1.0}}
CPU_NODE = {"Alive": True, "Resources": {"CPU": 4.0}}
ODD_NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "accelerator_type:L40S": 1.0}}
NAMELESS_NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}


def settings(*words: str) -> SweepConfig:
    found, complaints = resolve(["--trainable", "trainables.synthetic:Synthetic", *words], False)
    assert found is not None and not complaints, complaints
    return found


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


# --- a trial and a card -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_fits_to_the_byte_is_admitted_and_a_byte_more_is_not(share: float) -> None:
    room = Room("a card", 10 * GB, share)
    most = most_peak(round(10 * GB * share))
    assert refusal(most, [room]) is None
    assert refusal(most + 2, [room]) is not None


def test_a_refusal_says_what_was_compared_and_how_to_mend_it() -> None:
    said = refusal(8 * GB, [Room("the cluster's T4", 4 * GB), Room("the cluster's A10G", 16 * GB, 0.5)])
    assert said is not None
    assert "predicted peak of 8.00 GB of GPU memory, with 924.3 MB besides, does not fit" in said
    assert "the cluster's A10G with 16.00 GB, of which 0.5 is a trial's: 8.00 GB" in said
    assert "--admit all" in said and "T4" not in said


def test_one_card_that_has_room_is_enough_and_what_is_not_known_is_no_reason() -> None:
    small, large = Room("small", 2 * GB), Room("large", 9 * GB)
    assert refusal(4 * GB, [small, large]) is None
    assert refusal(4 * GB, [small]) is not None
    assert refusal(4 * GB, []) is None
    assert refusal(None, [small]) is None


# --- the cards that there are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([A10G_NODE], ["a10g"]),
        ([CPU_NODE, T4_NODE, A10G_NODE], ["t4", "a10g"]),
        ([{**A10G_NODE, "Alive": False}, T4_NODE], ["t4"]),
        ([CPU_NODE], []),
        ([A10G_NODE, ODD_NODE], []),
        ([A10G_NODE, NAMELESS_NODE], []),
    ],
    ids=["one", "two kinds", "a dead node", "none yet", "a card without a size here", "a card without a name"],
)
def test_the_cards_of_a_cluster_are_those_of_its_living_nodes(nodes: Sequence[Any], found: list[str]) -> None:
    """Where one is not known, none is taken to be all that there is: the worker knows its own."""
    config = settings("--address", "auto", "--gpus_per_trial", "1")
    assert [room.card_bytes for room in admission.rooms(config, 1, nodes)] == [CARDS[name].bytes for name in found]


@pytest.mark.parametrize(
    ("labels", "card"),
    [(["A100"], "a100-80"), (["A100", "A100-40G"], "a100-40"), (["A100", "A100-80G"], "a100-80")],
)
def test_rays_plain_a100_may_be_the_larger_one(labels: list[str], card: str) -> None:
    node = {"Alive": True, "Resources": {"GPU": 8.0, **{f"accelerator_type:{label}": 1.0 for label in labels}}}
    (room,) = admission.rooms(settings("--address", "auto"), 1, [node])
    assert room.card_bytes == CARDS[card].bytes


def test_a_declared_card_decides_whatever_is_there() -> None:
    (named,) = admission.rooms(settings("--gpu", "t4", "--address", "auto"), 0.5, [A10G_NODE])
    assert (named.card_bytes, named.share) == (CARDS["t4"].bytes, 0.5)
    (sized,) = admission.rooms(settings("--gpu_memory_gb", "3"), 1, None)
    assert sized.bytes == 3 * GB


def test_this_machines_cards_are_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_properties=lambda place: SimpleNamespace(name=f"GPU {place}", total_memory=(place + 1) * GB),
    )
    monkeypatch.setattr("torch.cuda", cuda)
    assert [room.bytes for room in admission.rooms(settings(), 1, None)] == [GB, 2 * GB]
    assert [room.bytes for room in admission.known_rooms(settings())] == [GB, 2 * GB]
    assert admission.rooms(settings(), 0, None) == [], "trials on the CPU have no card"
    assert admission.known_rooms(settings("--address", "auto")) == [], "a cluster is not asked before it is joined"


@pytest.mark.parametrize(("available", "size"), [(True, 3 * GB), (False, None)])
def test_a_workers_device_is_the_one_that_torch_trains_on(
    available: bool, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {0: GB, 1: 3 * GB}
    cuda = SimpleNamespace(
        is_available=lambda: available,
        current_device=lambda: 1,
        get_device_properties=lambda place: SimpleNamespace(total_memory=sizes[place]),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert Synthetic().device_bytes() == size
    monkeypatch.delitem(sys.modules, "torch")
    assert Synthetic().device_bytes() is None and "torch" not in sys.modules, "nothing is imported for it"


@pytest.mark.parametrize(
    ("words", "gpus", "asked"),
    [
        ([], 0, False),
        ([], 1, True),
        (["--gpu", "t4"], 0, True),
        (["--gpu_memory_gb", "3"], 0, True),
        (["--admit", "fit"], 0, True),
    ],
)
def test_a_sweep_on_the_cpu_does_not_wait_for_predictions_that_nothing_uses(
    words: list[str], gpus: float, asked: bool
) -> None:
    assert admission.predicts_memory(settings(*words), gpus) is asked


# --- the trials of a sweep ----------------------------------------------------------------------------------------------


class Counted(Declared):
    """Notes the rank of each step that is simulated."""

    def __init__(self) -> None:
        self.ranks: list[int] = []

    def step(self, settings: Mapping[str, Any], resolve: Resolve, length: int, device: Device) -> Step:
        self.ranks.append(settings["lora_r"])
        return super().step(settings, resolve, length, device)


class Counting(Synthetic):
    def __init__(self) -> None:
        self.counted = Counted()

    def predictor(self) -> Counted:
        return self.counted


class Broken(Synthetic):
    def predictor(self) -> Any:
        raise RuntimeError("aten::strange has no fake tensors\nat 0x7f")


def test_a_configuration_is_predicted_once_whatever_its_seed_and_rate() -> None:
    trainable = Counting()
    forecast = PredictedPeaks(trainable, str)
    trials = settings("--lora_r", "4", "8", "--seeds", "0", "1", "--grid", "learning_rate=1e-4,1e-3").trials()
    found = forecast(trials)
    assert sorted(trainable.counted.ranks) == [4, 8]
    assert len(found) == len(trials) == 8
    assert len(set(found.values())) == 2
    assert forecast(trials[:3]) == {trial.trial_id: found[trial.trial_id] for trial in trials[:3]}
    assert len(trainable.counted.ranks) == 2, "not again"


class Strange(Declared):
    """The code of one of the models does not work on fake tensors."""

    def step(self, settings: Settings, resolve: Resolve, length: int, device: Device) -> Step:
        if settings.get("model_name_or_path") == "strange":
            raise RuntimeError("aten::strange has no fake tensors")
        return super().step(settings, resolve, length, device)


class HalfStrange(Synthetic):
    def predictor(self) -> Strange:
        return Strange()


def test_a_model_that_cannot_be_simulated_takes_no_other_models_prediction_along(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials = settings("--lora_r", "4", "8", "--grid", "model_name_or_path=plain,strange").trials()
    found = PredictedPeaks(HalfStrange(), str)(trials)
    plain = [one.trial_id for one in trials if one.settings["model_name_or_path"] == "plain"]
    others = [one.trial_id for one in trials if one.trial_id not in plain]
    assert sorted(found) == sorted(plain) and len(plain) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert all(name in said for name in others) and not any(name in said for name in plain)


def test_an_estimate_of_such_a_model_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trainable", f"{__name__}:HalfStrange", "--lora_r", "4", "--model_name_or_path", "strange"]
    assert estimate([*words]) == 2
    said = capsys.readouterr().err
    assert "the memory cannot be predicted" in said and "RuntimeError: aten::strange has no fake tensors" in said


def test_a_prediction_that_cannot_be_made_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    forecast, (trial,) = PredictedPeaks(Broken(), str), settings("--lora_r", "4").trials()
    assert forecast([trial]) == forecast([trial]) == {}
    said = capsys.readouterr().err
    assert said.count("warning: ") == 1
    assert f"the memory of {trial.trial_id} cannot be predicted" in said and "at 0x7f" not in said


def predicted(*words: str) -> list[Attempted]:
    config = settings("--rank_bytes", str(10**8), *words)
    return admission.with_predictions(as_planned(config.trials()), PredictedPeaks(Synthetic(), str))


def test_a_card_between_two_ranks_admits_the_smaller_and_refuses_the_larger() -> None:
    small, large = predicted("--lora_r", "8", "32")
    assert small.columns["predicted_peak_memory_bytes"] == 8 * 10**8 + 4 * 10**6 + 8 * 16 * 10**3
    fitting, refused = admission.split_by_fit([small, large], [Room("a card", 2 * GB)])
    assert fitting == [small]
    assert list(refused) == [large.trial.trial_id]


def test_a_shrunk_trial_is_predicted_as_it_will_be_run() -> None:
    (whole,) = predicted("--lora_r", "32")
    half = shrunk(whole.trial)
    assert half is not None
    (again,) = admission.with_predictions([half], PredictedPeaks(Synthetic(), str))
    assert again.predicted_bytes is not None and whole.predicted_bytes is not None
    assert again.predicted_bytes < 0.6 * whole.predicted_bytes
    assert again.columns["micro_batch"] == 4


def test_a_rejected_row_keeps_what_was_measured_before(tmp_path: Path) -> None:
    store, (one,) = Store(str(tmp_path / "one")), predicted("--lora_r", "32")
    store.write_trial({**one.columns, "status": "failed", "error_type": "ValueError", "steps": 7, "attempts": 0}, {})
    reject(one, store, "it does not fit")
    row = store.trial(one.trial.trial_id)
    assert row is not None
    assert (row["status"], row["error_type"], row["error_message"]) == ("rejected", None, "it does not fit")
    assert (row["steps"], row["attempts"]) == (7, 0)
    assert row["predicted_peak_memory_bytes"] == one.predicted_bytes


def test_a_rejected_trial_is_run_again_and_shrunk_only_where_it_was_rejected_now(tmp_path: Path) -> None:
    store, (one,) = Store(str(tmp_path / "one")), predicted("--lora_r", "32")
    reject(one, store, "it does not fit")
    config, name = settings("--lora_r", "32"), one.trial.trial_id
    assert [trial.trial_id for trial in Plan(config, [one.trial], {name: "rejected"}).todo] == [name]
    row = store.trial(one.trial.trial_id)
    assert not can_shrink(one.trial, row), "an earlier command's: there may be another card now"
    assert can_shrink(one.trial, row, ("oom", "rejected"))


# --- --dry_run ----------------------------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, str], str]:
    """Each rank's line of the table of trials, and all that is printed."""
    config = settings("--rank_bytes", str(10**8), "--lora_r", "8", "32", *words)
    trials: Sequence[Trial] = config.trials()
    peaks = PredictedPeaks(Synthetic(), str)(trials)
    dry_run.show(Plan(config, trials, {}), dry_run.Preview(peaks=peaks, rooms=admission.known_rooms(config)))
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    return {line.split()[1]: line for line in lines[2:4]}, " ".join(lines)


def test_a_dry_run_shows_each_trials_memory_and_the_smallest_card_that_has_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_rank, out = shown(capsys)
    assert "804.1 MB t4 to run" in by_rank["8"] and "3.20 GB t4 to run" in by_rank["32"]
    assert "the predicted peak of torch.cuda.max_memory_allocated" in out
    by_rank, _ = shown(capsys, "--gpus_per_trial", "0.1")
    assert "804.1 MB t4" in by_rank["8"] and "3.20 GB a100-40" in by_rank["32"]


def test_a_dry_run_says_which_trials_would_be_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    by_rank, out = shown(capsys, "--gpu_memory_gb", "2")
    assert by_rank["8"].endswith("to run") and by_rank["32"].endswith("rejected: does not fit")
    assert "Compared with the card of --gpu_memory_gb with 2.00 GB." in out
    assert " 1 to run, 0 done, 1 to be rejected, in " in out
    by_rank, out = shown(capsys, "--gpu_memory_gb", "2", "--admit", "all")
    assert by_rank["32"].endswith("to run") and " 2 to run, 0 done, in " in out


def test_a_dry_run_without_predictions_has_no_column_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    config = settings("--lora_r", "8")
    dry_run.show(Plan(config, config.trials(), {}), dry_run.Preview())
    assert "GPU memory" not in capsys.readouterr().out
