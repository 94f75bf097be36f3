"""A trained adapter as a folder: it computes what the trial's own model did, and its card is one that the Hub reads."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sweep import analysis, export
from sweep.publish.picture import picture
from sweep.space import FULL, trials
from sweep.store import checkpoints
from sweep.store.store import Row, Store
from tests import hub
from tests.answers import row
from tests.integration.faults import made
from tests.untuned import RESOLVE, context_of
from trainables.training import train as training

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # peft asks under the old name
]
DEMO = "trainables/demo/model"
PROMPT = "def add(first, second):\n"


def computed(model: Any) -> tuple[Any, list[int]]:
    """Logits of a text, and the tokens that the model goes on with."""
    import torch
    from transformers import AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(RESOLVE(DEMO))(PROMPT, return_tensors="pt")
    was = model.training
    model.eval()
    with torch.no_grad():
        logits = model(**inputs).logits
        tokens = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist()
    model.train(was)
    return logits, tokens


def trained(folder: Path, rank: Any) -> tuple[Store, Row, tuple[Any, list[int]]]:
    """A sweep of one trial of the demo's model that was really trained, and what its model computed at its end."""
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"text": f"def f{n}(): return {n}"}) for n in range(30)))
    settings = {"model_name_or_path": DEMO, "dataset_name": str(folder / "rows.jsonl"), "test_split_size": 5}
    settings |= {"max_steps": 3, "learning_rate": 1e-2, "bf16": False, "activation_checkpointing": False}
    (trial,) = trials(settings, [rank], [0], {}, "fixed")
    seen: list[Any] = []
    final = training._final

    def watched(trainer: Any, context: Any) -> Path:
        seen.append(computed(trainer.model))
        return final(trainer, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_final", watched)
        context = context_of(trial, folder)
        loss = training.train(context)["eval_loss"]
    assert context.final is not None
    values = {"eval_loss": loss, "settings": dict(trial.settings), "lora_alpha": trial.columns()["lora_alpha"]}
    store = Store(str(folder / "results" / "toy"))
    mine = row(trial.trial_id, trial.columns()["lora_r"], **values)
    sealed = checkpoints.seal_of(context.final, 3, {"status": "completed"})
    mine["checkpoint"] = checkpoints.upload(store, trial.trial_id, context.final, sealed)
    worse = row("r2-s0", 2, eval_loss=loss * 1.2, settings=dict(trial.settings) | {"lora_r": 2})
    stopped = row("r4-s0", 4, status="pruned", eval_loss=None, checkpoint="checkpoints/r4-s0/2")
    checkpoints.upload(store, "r4-s0", context.final, checkpoints.seal_of(context.final, 2))
    axes = {"lora_r": [rank, 2, 4], "seed": [0]}
    store.write_sweep({"axes": axes, "base": settings, "trials": [], "provenance": {"git_commit": "abc"}})
    for one in (mine, worse, stopped):
        store.write_trial(one, {})
    return store, mine, seen[0]


def as_the_card_says(folder: Path) -> dict[str, Any]:
    """What the card's own code makes: that it loads the base as the trial did is what the numbers depend on."""
    (code,) = re.findall(r"## Use it\n\n```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def metadata(card: str) -> dict[str, Any]:
    found: dict[str, Any] = ModelCard(card).data.to_dict()  # type: ignore[no-untyped-call]
    return found


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Row, Any]:
    return trained(tmp_path_factory.mktemp("lora"), 8)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another current directory than the one that the trial was trained in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
def test_an_exported_adapter_computes_what_the_trained_model_did(
    lora: tuple[Store, Row, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store, mine, (logits, tokens) = lora
    assert export.main([store.location]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == Path("exports", f"toy-{mine['trial_id']}")
    base = AutoModelForCausalLM.from_pretrained(RESOLVE(DEMO), dtype="float32")
    assert not torch.equal(computed(base)[0], logits), "training changed the model"
    for loaded in (as_the_card_says(folder)["model"], PeftModel.from_pretrained(base, str(folder))):
        again, followed = computed(loaded)
        assert torch.equal(again, logits)
        assert followed == tokens and len(tokens) > 24
    assert as_the_card_says(folder)["tokenizer"](PROMPT) == AutoTokenizer.from_pretrained(RESOLVE(DEMO))(PROMPT)
    assert {path.name for path in folder.iterdir()} >= {"adapter_model.safetensors", "README.md", "comparison.svg"}
    assert not (folder / checkpoints.SEAL).exists()


def test_a_fully_fine_tuned_model_is_exported_whole(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    store, mine, (logits, tokens) = trained(elsewhere, FULL)
    assert export.main([store.location, "--trial", mine["trial_id"], "--output", "model"]) == 0
    assert capsys.readouterr().out == "model\n"
    again, followed = computed(as_the_card_says(Path("model"))["model"])
    assert torch.equal(again, logits) and followed == tokens
    assert ModelCard.load("model/README.md").data.library_name == "transformers"
    assert "from transformers import AutoModelForCausalLM" in Path("model", "README.md").read_text()


def toy(folder: Path, weights: bool = True, location: str = "results/toy", **values: Any) -> tuple[Store, Row]:
    """A sweep of one completed trial whose checkpoint is no more than an adapter's configuration."""
    store = Store(location)
    mine = row(checkpoint="checkpoints/r8-s0/final", **values)
    store.write_sweep({"axes": {"lora_r": [8], "seed": [0]}, "base": {}, "trials": []})
    store.write_trial(mine, {})
    if weights:
        (folder / "final").mkdir()
        (folder / "final" / "adapter_config.json").write_text('{"base_model_name_or_path": "x", "revision": null}')
        seal = checkpoints.seal_of(folder / "final", 1, {"status": "completed"})
        checkpoints.upload(store, mine["trial_id"], folder / "final", seal)
    return store, mine


HUB = {"model_name_or_path": "facebook/opt-350m", "dataset_name": "lucasmccabe-lmi/CodeAlpaca-20k"}
MADE_OF = {"model_fingerprint": f"facebook/opt-350m@{'1' * 40}", "data_fingerprint": "d"}


@pytest.mark.usefixtures("elsewhere")
def test_the_card_names_what_the_hub_has_as_the_hub_does(tmp_path: Path) -> None:
    store, _ = toy(tmp_path, settings=HUB, provenance=MADE_OF, eval_loss=1.75)
    assert export.main([store.location, "--output", "out"]) == 0
    text = Path("out", "README.md").read_text()
    assert hub.complaints(text) == []
    data = metadata(text)
    assert data["base_model"] == "facebook/opt-350m" and data["base_model_relation"] == "adapter"
    assert data["datasets"] == ["lucasmccabe-lmi/CodeAlpaca-20k"] and data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation" and "lora" in data["tags"]
    ((result,),) = [model["results"] for model in data["model-index"]]
    assert result["metrics"] == [{"type": "loss", "value": 1.75, "name": "held-out loss"}]
    config = json.loads(Path("out", "adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "facebook/opt-350m", "revision": "1" * 40}


@pytest.mark.usefixtures("elsewhere")
def test_the_card_names_the_data_sets_of_a_mixture(tmp_path: Path) -> None:
    mixture = [{"path": "trl-lib/Capybara"}, {"path": "rows.jsonl"}]
    settings = {"model_name_or_path": HUB["model_name_or_path"], "datasets": mixture}
    store, _ = toy(tmp_path, settings=settings, provenance=MADE_OF, eval_loss=1.75)
    assert export.main([store.location, "--output", "out"]) == 0
    text = Path("out", "README.md").read_text()
    assert metadata(text)["datasets"] == ["trl-lib/Capybara"] and "model-index" not in metadata(text)
    assert "fine-tuned on `trl-lib/Capybara`, `rows.jsonl`." in text


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ["data/rows.jsonl", "./rows", "/data/rows", "rows", "gone/to/rows"])
def test_data_that_are_not_the_hubs_are_not_in_the_metadata(name: str, tmp_path: Path) -> None:
    """Though they are not on this machine either, as where a sweep is exported elsewhere."""
    store, _ = toy(tmp_path, settings={**HUB, "dataset_name": name}, provenance=MADE_OF)
    assert export.main([store.location, "--output", "out"]) == 0
    text = Path("out", "README.md").read_text()
    assert f"fine-tuned on `{name}`" in text
    assert not {"datasets", "model-index"} & metadata(text).keys()


@pytest.mark.usefixtures("elsewhere")
def test_the_card_of_local_names_has_the_comparison_and_how_to_make_it_again(
    lora: tuple[Store, Row, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, mine, _ = lora
    assert export.main([store.location, "--output", "out"]) == 0
    assert "the recommendation is not decided" in capsys.readouterr().err, "one seed decides nothing"
    text = Path("out", "README.md").read_text()
    assert hub.complaints(text) == []
    assert metadata(text).keys() == {"library_name", "pipeline_tag", "tags"}
    assert "| r=2 |" in text and "git checkout abc" in text and "python -m sweep.grid" in text
    assert "learning_rate: 0.01" in text and '"out", dtype="float32"' in text and mine["trial_id"] in text
    assert "![Held-out loss by configuration](comparison.svg)" in text
    assert json.loads(Path("out", "adapter_config.json").read_text())["base_model_name_or_path"] == RESOLVE(DEMO)


def test_labels_and_settings_are_text_whatever_they_hold(elsewhere: Path) -> None:
    """In the card's fences and table, in the picture, and in the code that loads it."""
    import xml.etree.ElementTree as ElementTree

    wild = '`a`|<script> "&'
    store, _ = toy(elsewhere, settings={"model_name_or_path": wild, "prompt_template": "```\n{instruction}"})
    store.write_sweep({"axes": {"run_name": [wild, "b"]}, "base": {"run_name": "```"}, "trials": []})
    seal = checkpoints.seal_of(elsewhere / "final", 1, {"status": "completed"})
    for name, value in (("r8-a", wild), ("r8-b", "b")):
        store.write_trial(row(name, checkpoint=f"checkpoints/{name}/final"), {"run_name": value})
        checkpoints.upload(store, name, elsewhere / "final", seal)
    assert export.main([store.location, "--trial", "r8-a", "--output", '"out']) == 0
    text = Path('"out', "README.md").read_text()
    assert "<script>" not in text.split("## The comparison")[1].split("## Settings")[0]
    assert "````bash\n" in text and '"\\"out"' in text
    labels = [one.text for one in ElementTree.parse(Path('"out', "comparison.svg")).getroot().iter() if one.text]
    assert any(wild in label for label in labels)


@pytest.mark.usefixtures("elsewhere")
def test_the_picture_is_to_scale() -> None:
    """Means, seeds and ticks stand where their losses are, the pick's line in a color of its own."""
    store = Store("results/toy")
    store.write_sweep({"axes": {"lora_r": [2, 8], "seed": [0, 1]}, "base": {}, "trials": []})
    for rank, losses in {2: (3.0, 3.4), 8: (2.0, 2.2)}.items():
        for seed, loss in enumerate(losses):
            store.write_trial(row(f"r{rank}-s{seed}", rank, seed, eval_loss=loss), {})
    sweep = analysis.load(store.location)
    drawn = picture(sweep, analysis.answer(sweep))
    assert drawn is not None
    circles = [(float(x), float(r)) for x, r in re.findall(r'<circle cx="([\d.]+)" cy="\d+" r="(\d)"', drawn.svg)]
    ticks = [(float(x), float(text)) for x, text in re.findall(r'<text x="([\d.]+)".*middle">([\d.]+)<', drawn.svg)]
    (x0, low), (x1, high) = ticks[0], ticks[-1]
    placed = [(round(low + (x - x0) / (x1 - x0) * (high - low), 2), r) for x, r in circles]
    assert placed == [(3.0, 3), (3.4, 3), (3.2, 5), (2.0, 3), (2.2, 3), (2.1, 5)]
    assert 3 <= len(ticks) <= 7
    assert re.findall(r'<g stroke="(#\w+)"', drawn.svg) == ["#57606a", "#0969da"]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trial", "r4-s1"], "has no such trial. Did you mean r4-s0? Give one with --trial: "),
        (["--trial", "r4-s0"], "Trial r4-s0 has no trained weights to export: it is pruned"),
        (["--trial", ""], "has no such trial"),
        (["--output", ""], "--output: expected a folder, got ''"),
        (["--output", "."], "'.' exists already. Remove it, or name a new folder"),
        (["--output", "file/below"], "'file/below' cannot be written: "),
        (["--push_to_hub", "a b"], "--push_to_hub a b: is not the name of a repository. Give USER/NAME."),
        (["--push_to_hub", "me/toy"], "there is no token for the Hub. Set HF_TOKEN"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    words: list[str],
    said: str,
    lora: tuple[Store, Row, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    Path("file").write_text("")
    assert export.main([lora[0].location, *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""
    assert [path.name for path in Path().iterdir()] == ["file"], "nothing is left behind"


@pytest.mark.usefixtures("elsewhere")
def test_without_a_recommendation_a_trial_is_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, _ = toy(tmp_path, eval_loss=None)
    assert export.main([store.location]) == 2
    assert "recommends nothing to export" in capsys.readouterr().err
    assert export.main([store.location, "--trial", "r8-s0"]) == 0


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("lost", ["all", "a file", "half of a file"])
def test_weights_that_are_gone_are_not_exported(lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, _ = toy(tmp_path, weights=lost != "all")
    file = Path(store.location, "checkpoints", "r8-s0", "final", "adapter_config.json")
    if lost == "a file":
        file.unlink()
    elif lost == "half of a file":
        file.write_text("{")
    assert export.main([store.location]) == 2
    said = capsys.readouterr().err
    assert "weights are gone" in said and "--trial" in said and f"delete {store.location}/trials/r8-s0.parquet" in said
    assert not Path("exports").exists()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # moto's server leaves its sockets open
def test_a_sweep_in_an_object_store_is_downloaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with made("endpoint", tmp_path) as endpoint:
        store, _ = toy(tmp_path, location=f"{endpoint.location}/toy")
        assert export.main([store.location]) == 0
        assert capsys.readouterr().out == "exports/toy-r8-s0\n"
        assert Path("exports", "toy-r8-s0", "adapter_config.json").is_file()
        store.remove("checkpoints/r8-s0/final/adapter_config.json")
        assert export.main([store.location, "--output", "out"]) == 2
        assert f"{store.location}/checkpoints/r8-s0/final is missing or incomplete" in capsys.readouterr().err


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Hub on this machine: its folder, and the environment of a process that asks it."""
    root = tmp_path / "hub"
    root.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    with hub.serving(root) as address:
        own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
        yield root, {**kept, **own, "HF_TOKEN": hub.TOKEN}


def pushed(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sweep.export", *words], env=environment, capture_output=True, text=True
    )


def test_it_is_pushed_with_its_card_and_without_its_token(
    lora: tuple[Store, Row, Any], stand_in: tuple[Path, dict[str, str]], elsewhere: Path
) -> None:
    root, environment = stand_in
    done = pushed(environment, lora[0].location, "--output", "out", "--push_to_hub", "me/toy", "--private")
    assert done.returncode == 0, done.stderr
    folder, address = done.stdout.splitlines()
    assert folder == "out" and address == f"{environment['HF_ENDPOINT']}/me/toy"
    assert json.loads((root / "me" / "toy" / "created.json").read_text())["visibility"] == "private"
    commit = json.loads((root / "me" / "toy" / "refs.json").read_text())["main"]
    sent = {path.name: path.read_bytes() for path in (root / "me" / "toy" / commit).iterdir()}
    assert sent == {path.name: path.read_bytes() for path in (elsewhere / "out").iterdir()}
    assert not [name for name, data in sent.items() if hub.TOKEN.encode() in data]
    assert b'from_pretrained("me/toy"' in sent["README.md"]
    assert json.loads(sent["adapter_config.json"])["base_model_name_or_path"] == DEMO
    assert f"the base model {DEMO} is a folder: whoever loads the adapter needs that folder" in done.stderr
    assert hub.TOKEN not in done.stdout + done.stderr


def test_a_new_repository_is_as_visible_as_the_hub_makes_it_and_an_old_one_is_pushed_to(
    stand_in: tuple[Path, dict[str, str]], elsewhere: Path
) -> None:
    root, environment = stand_in
    store, _ = toy(elsewhere, settings=HUB, provenance=MADE_OF)
    for output in ("first", "second"):
        done = pushed(environment, store.location, "--output", output, "--push_to_hub", "me/toy")
        assert done.returncode == 0, done.stderr
    assert not {"private", "visibility"} & json.loads((root / "me" / "toy" / "created.json").read_text()).keys()


def test_what_the_hub_refuses_stays_as_a_folder(stand_in: tuple[Path, dict[str, str]], elsewhere: Path) -> None:
    _, environment = stand_in
    store, _ = toy(elsewhere)
    secret = "hf_another_token_of_somebody"
    words = [store.location, "--output", "out", "--push_to_hub", "me/toy"]
    done = pushed({**environment, "HF_TOKEN": secret}, *words)
    assert done.returncode == 1 and done.stdout == "out\n"
    assert "--push_to_hub me/toy: " in done.stderr and "hf upload me/toy out" in done.stderr
    assert "Traceback" not in done.stderr and secret not in done.stderr
    assert Path("out", "README.md").is_file()
