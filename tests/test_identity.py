"""What trials are made of: compared by name, each value of an axis for itself."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.common import provenance
from sweep.config.layers import resolve
from sweep.config.sweep_config import SweepConfig
from sweep.contract import identity
from sweep.contract.identity import Source
from sweep.errors import OtherSweep
from sweep.plan import planning as plan
from sweep.store.store import Store

WORDS = ["--trainable", "trainables.synthetic:Synthetic", "--lora_r", "8"]


def config(folder: Path, *words: str) -> SweepConfig:
    found, complaints = resolve([*WORDS, "--storage_path", str(folder), "--name", "one", *words], False)
    assert found is not None and complaints == []
    return found


def made_of(found: SweepConfig, **data: str) -> identity.Identity:
    """Each trial's data set by its name, and one model for all."""
    model = Source("m", "weights")
    return {
        trial.trial_id: {
            "data_fingerprint": Source(trial.settings["dataset_name"], data[trial.settings["dataset_name"]]),
            "model_fingerprint": model,
        }
        for trial in found.trials()
    }


def swept(folder: Path, names: str, **data: str) -> None:
    """A command's part of a sweep, noted as the command notes it."""
    found = config(folder, "--grid", f"dataset_name={names}")
    store, made = Store(found.location), made_of(found, **data)
    planned = plan.make_plan(found, store, made)
    before = store.read_sweep() if store.exists("sweep.json") else {}
    store.write_sweep(plan.merge(before, plan.content(found, planned.trials, made)))


def test_a_value_that_is_added_to_an_axis_changes_none_of_the_others(tmp_path: Path) -> None:
    swept(tmp_path, "a", a="1")
    swept(tmp_path, "a,b", a="1", b="2")
    swept(tmp_path, "b", b="2")
    swept(tmp_path, "a,c", a="1", c="3")
    content = Store(f"{tmp_path}/one").read_sweep()["content"]
    assert content["data_fingerprint"] == {"a": "1", "b": "2", "c": "3"}


def test_a_value_of_an_axis_that_changed_is_named(tmp_path: Path) -> None:
    swept(tmp_path, "a,b", a="1", b="2")
    with pytest.raises(OtherSweep, match='data_fingerprint of b: "2" there, "3" now') as refused:
        swept(tmp_path, "b,c", b="3", c="4")
    assert " of c" not in str(refused.value) and "model" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("1", {"a": "1"}, False),
        ("1", {"a": "2"}, True),
        ("1", {"a": "1", "b": "2"}, False),  # an axis has a further value
        ("1,2", {"b": "2"}, False),  # only one of them is asked for now
        ("1,2", {"a": "1", "b": "3"}, True),
        ("gpt2@None", {"gpt2": "gpt2@f00"}, False),  # it knew no commit
    ],
)
def test_a_sweep_of_the_version_that_joined_fingerprints_goes_on(old: str, new: dict[str, str], refused: bool) -> None:
    found = list(identity.changes({"model_fingerprint": old}, {"model_fingerprint": new}))
    assert bool(found) == refused
    assert identity.merge({"model_fingerprint": old}, {"model_fingerprint": new}) == {"model_fingerprint": new}


@pytest.mark.parametrize("odd", [None, 3, [], {"data_fingerprint": 3}, {"data_fingerprint": {"a": []}}])
def test_whatever_sweep_json_holds_nothing_is_raised(odd: Any) -> None:
    before = odd if isinstance(odd, dict) else {"data_fingerprint": odd}
    list(identity.changes(before, {"data_fingerprint": {"a": "1"}}))
    identity.merge(before, {"data_fingerprint": {"a": "1"}})


def test_what_sweep_json_calls_a_model_does_not_name_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = identity.content({"t": {"model_fingerprint": Source("/home/somebody/model", "1")}})
    assert found == {"model_fingerprint": {"~/model": "1"}}


# --- fingerprints that are kept ----------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has been there for long, as far as the clock of the test says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    return file


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    read = provenance.fingerprint

    def counting(paths: Any) -> str:
        calls.append(1)
        return read(paths)

    monkeypatch.setattr(provenance, "fingerprint", counting)
    return calls


def test_weights_are_read_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    found = {provenance.remembered_fingerprint([weights]) for _ in range(3)}
    assert found == {provenance.fingerprint([weights])} and len(calls) == 1 + 1  # the test's own


def test_a_file_that_changed_is_read_again_also_where_size_and_time_were_put_back(weights: Path) -> None:
    before, stat = provenance.remembered_fingerprint([weights]), weights.stat()
    weights.write_bytes(b"two")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert weights.stat().st_size == stat.st_size and weights.stat().st_mtime_ns == stat.st_mtime_ns
    assert provenance.remembered_fingerprint([weights]) != before
    assert provenance.remembered_fingerprint([weights]) == provenance.fingerprint([weights])


def test_what_changed_a_moment_ago_is_not_kept(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = weights.stat().st_ctime
    monkeypatch.setattr(time, "time", lambda: changed + 1)
    calls = counted(monkeypatch)
    for _ in range(2):
        provenance.remembered_fingerprint([weights])
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_done_without(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert provenance.remembered_fingerprint([weights]) == provenance.fingerprint([weights])
