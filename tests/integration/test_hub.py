"""Models from the Hub: known by their commit, trained at it, and none with code of its own is asked about on the terminal.

The Hub is a stand-in on this machine. Its address is read when the client is imported: so all happens in processes of their own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import hub, toys

OLD, NEW, OWN = "1" * 40, "2" * 40, "3" * 40
CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({ran!r}).write_text("the model's own code ran")

class Config(LlamaConfig):
    model_type = "of-its-own"

class Model(LlamaForCausalLM):
    config_class = Config
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits of a model, one of them for shorter texts, and a model that brings code."""
    root = tmp_path_factory.mktemp("hub")
    for commit, positions in ((OLD, 256), (NEW, 200)):  # of one class: TRL looks for that in the main branch
        toys.model(root / "toys" / "plain" / commit, "opt", positions=positions)
    hub.point(root, "toys/plain", main=OLD, v2=NEW)
    own = toys.model(root / "toys" / "own" / OWN)
    config = json.loads((own / "config.json").read_text())
    own_names = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (own / "config.json").write_text(json.dumps({**config, "model_type": "of-its-own", "auto_map": own_names}))
    (own / "code.py").write_text(CODE.format(ran=str(root / "ran")))
    hub.point(root, "toys/own", main=OWN)
    return root


@pytest.fixture(scope="module")
def online(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a process found that reaches the Hub, and with `offline` what one found later, with the cache alone."""
    place = tmp_path_factory.mktemp("place")
    with hub.serving(root) as address:
        found = asked("online", address, root, place)
    yield {**found, "offline": asked("offline", address, root, place)}
    shutil.rmtree(place)


def asked(step: str, address: str, root: Path, place: Path) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(place / "cache"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_OFFLINE": "1"} if step == "offline" else {}
    code = f"from tests.integration.test_hub import {step}_process as ask; ask({str(root)!r}, {str(place)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def online_process(root: str, place: str) -> None:
    """Prints what is found. The branch moves on while a sweep is between its check and its first trial."""
    from tests import untuned
    from trainables.sft import SFT
    from trainables.training.train import train

    data = untuned.settings(Path(place))
    found: dict[str, Any] = {name: fingerprint("toys/plain", data, **more) for name, more in ASKED.items()}
    trials, sft = of("toys/plain", data), SFT()
    assert sft.check(trials, untuned.RESOLVE) == []
    before = sft.identify(trials, untuned.RESOLVE)[trials[0].trial_id]["model_fingerprint"].fingerprint
    hub.point(Path(root), "toys/plain", main=NEW, v2=NEW)
    context = untuned.context_of(trials[0], Path(place) / "work")
    context.shared, _ = sft.prepare(trials, untuned.RESOLVE)
    context.work_dir.mkdir()
    trained = train(context)["total_parameters"]
    hub.point(Path(root), "toys/plain", main=OLD, v2=NEW)
    fingerprint("toys/plain", data)  # so that the cache has the branch as it is now
    own = complaints(data)
    ran = (Path(root) / "ran").exists()
    trusted = complaints(data, trust_remote_code=True), fingerprint("toys/own", data, trust_remote_code=True)
    found |= {"before": before, "trained": trained, "own": own, "ran": ran, "trusted": trusted}
    print(json.dumps(found))


def offline_process(root: str, place: str) -> None:
    from tests import untuned

    data = untuned.settings(Path(place))
    print(json.dumps({name: fingerprint("toys/plain", data, **more) for name, more in ASKED.items()}))


ASKED: dict[str, dict[str, Any]] = {
    "main": {},
    "branch": {"model_revision": "v2"},
    "commit": {"model_revision": NEW},
    "loaded at": {"model_init_kwargs": {"revision": "v2"}},
}


def of(name: str, data: dict[str, Any], **more: Any) -> list[Any]:
    from sweep import space

    return space.trials({**data, "model_name_or_path": name, **more}, ["full"], [0], {}, "fixed")


def fingerprint(name: str, data: dict[str, Any], **more: Any) -> str:
    from tests import untuned
    from trainables.sft import SFT

    trials, sft = of(name, data, **more), SFT()
    assert sft.check(trials, untuned.RESOLVE) == []
    return sft.identify(trials, untuned.RESOLVE)[trials[0].trial_id]["model_fingerprint"].fingerprint


def complaints(data: dict[str, Any], **more: Any) -> list[str]:
    from tests import untuned
    from trainables.sft import SFT

    return [*map(str, SFT().check(of("toys/own", data, **more), untuned.RESOLVE))]


def test_a_model_of_the_hub_is_known_by_its_commit(online: dict[str, Any]) -> None:
    known = {"main": f"toys/plain@{OLD}", "branch": f"toys/plain@{NEW}", "commit": f"toys/plain@{NEW}"}
    assert {name: online[name] for name in known} == known
    assert online["loaded at"] == f"toys/plain@{NEW}"


def test_offline_the_cache_knows_the_commit(online: dict[str, Any]) -> None:
    assert online["offline"] == {name: online[name] for name in ASKED}


def test_trials_train_the_commit_that_was_found_whatever_the_branch_is_moved_to(
    online: dict[str, Any], root: Path
) -> None:
    from transformers import AutoModelForCausalLM

    models = [AutoModelForCausalLM.from_pretrained(root / "toys" / "plain" / commit) for commit in (OLD, NEW)]
    old, new = (sum(one.numel() for one in network.parameters()) for network in models)
    assert online["before"] == f"toys/plain@{OLD}" and online["trained"] == old != new


def test_a_model_with_code_of_its_own_is_one_complaint_and_its_code_is_not_run(online: dict[str, Any]) -> None:
    (complaint,) = online["own"]
    assert complaint.startswith("--model_name_or_path toys/own: it contains its own code, which is not run.")
    assert "--trust_remote_code" in complaint and not online["ran"]


def test_code_that_is_trusted_by_flag_asks_nothing(online: dict[str, Any]) -> None:
    assert online["trusted"] == [[], f"toys/own@{OWN}"]
