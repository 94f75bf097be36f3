"""What a trial measures beside its held-out loss, against transformers by hand; and that its training does not notice."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.contract.trainable import Context
from sweep.space import FULL, trials
from sweep.statistics import exact
from sweep.store.store import Row
from tests import toys
from tests.untuned import context_of
from trainables.training import evaluate, generate, scores
from trainables.training.train import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),  # peft asks under the old name
]

ANSWERS = ("yes", "no", "number total")
HELD_OUT, TEXTS = 8, 5


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    """Questions of different lengths with three answers, one of them to most; and two further sets."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"prompt": f"sum {'x ' * (n % 7)}{n % 4}:", "completion": f" {ANSWERS[(n % 4 == 3) + (n % 12 == 3)]}"}
        for n in range(60)
    ]
    texts = [{"text": "add the numbers " * (1 + n)} for n in range(TEXTS)]
    for name, content in (("rows", rows), ("texts", texts), ("pairs", rows[:6])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    return {
        "model_name_or_path": str(toys.model(folder / "llama", "llama")),
        "dataset_name": str(folder / "rows.jsonl"),
        "test_split_size": HELD_OUT,
        "max_steps": 3,
        "save_strategy": "no",
        "per_device_eval_batch_size": 2,
        "bf16": False,
        "activation_checkpointing": False,
        "lora_dropout": 0.2,
        "learning_rate": 0.02,
        **more,
    }


def asked(folder: Path) -> dict[str, Any]:
    sets = [str(folder / name) for name in ("texts.jsonl", "pairs.jsonl")]
    return {"eval_dataset_name": sets, "eval_generation": "exact_match"}


@dataclass
class Trained:
    """A trained trial, and what its scores were made from."""

    context: Context
    steps: list[Row] = field(default_factory=list)
    outcome: Row = field(default_factory=dict)
    trainer: Any = None
    mine: Any = None
    before: scores.Losses = field(default_factory=scores.Losses)

    def rows(self, metric: str, dataset: str = "") -> list[Row]:
        return rows_of(self.context.scores, metric, dataset)

    def again(self, **changed: Any) -> tuple[Row, list[Row]]:
        """Columns and rows of scoring it once more."""
        context = replace(self.context, scores=[])
        given = {"trainer": self.trainer, "mine": self.mine, "before": self.before, "outcome": self.outcome, **changed}
        return scores.columns(context, **given), context.scores


def rows_of(found: list[Row], metric: str, dataset: str = "") -> list[Row]:
    return [row for row in found if row["metric"] == metric and (row.get("dataset") or "").endswith(dataset)]


def trained(folder: Path, rank: Any = 4, **more: Any) -> Trained:
    (trial,) = trials(settings(folder, **more), [rank], [0], {}, "fixed")
    found = Trained(context_of(trial, folder))
    found.context.report = found.steps.append
    inner = scores.columns

    def columns(context: Context, trainer: Any, mine: Any, before: Any, outcome: Row) -> Row:
        found.trainer, found.mine, found.before = trainer, mine, before
        return inner(context, trainer, mine, before, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "columns", columns)
        found.outcome = train(found.context)
    return found


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Long enough to learn the usual answer and when to stop."""
    folder = tmp_path_factory.mktemp("tuned")
    return trained(folder, FULL, max_steps=40, learning_rate=5e-3, **asked(folder))


def by_hand(folder: str | Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def loss_by_hand(model: Any, tokenizer: Any, prompt: str, text: str) -> tuple[float, int]:
    """Summed loss over the tokens of the text after the prompt, and how many they are."""
    import torch

    skipped = max(1, len(tokenizer(prompt)["input_ids"])) if prompt else 1
    ids = torch.tensor([tokenizer(prompt + text + tokenizer.eos_token)["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")[skipped - 1 :]
    return float(losses.sum()), len(losses)


# --- the numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("texts.jsonl", TEXTS), ("pairs.jsonl", 6)])
def test_the_loss_before_and_after_is_that_of_the_model_before_and_after(tuned: Trained, name: str, count: int) -> None:
    """Each example by itself, from the base model's folder and from what was saved."""
    context = tuned.context
    assert context.final is not None
    rows = tuned.rows("loss", name)
    assert [row["example_id"] for row in rows] == list(range(count))
    source = Path(context.settings["dataset_name"]).with_name(name)
    texts = [json.loads(line) for line in source.read_text().splitlines()]
    for key, folder in (("before", context.settings["model_name_or_path"]), ("after", context.final)):
        model, tokenizer = by_hand(folder)
        for row, text in zip(rows, texts, strict=True):
            own = (text["prompt"], text["completion"]) if "prompt" in text else ("", text["text"])
            loss, tokens = loss_by_hand(model, tokenizer, *own)
            assert row[key] == pytest.approx(loss, rel=1e-5) and row["tokens"] == tokens
    assert rows[0]["before"] != pytest.approx(rows[0]["after"], rel=0.01)


def test_forgetting_is_the_mean_over_the_sets_of_what_each_lost(tuned: Trained) -> None:
    losses = json.loads(tuned.outcome["eval_dataset_losses"])
    added = []
    for name, found in losses.items():
        rows = tuned.rows("loss", name)
        tokens = sum(row["tokens"] for row in rows)
        assert found == pytest.approx({key: sum(row[key] for row in rows) / tokens for key in ("before", "after")})
        added.append(found["after"] - found["before"])
    assert len(losses) == 2 and tuned.outcome["forgetting"] == pytest.approx(sum(added) / 2)


def test_what_is_generated_is_what_the_model_generates_greedily_prompt_by_prompt(tuned: Trained) -> None:
    """Without padding and one at a time, for as long as the reference and its slack."""
    assert tuned.context.final is not None
    model, tokenizer = by_hand(tuned.context.final)
    shared = next(iter(tuned.context.shared.values()))
    rows = tuned.rows("exact_match")
    assert len({len(row["prompt"]) for row in shared.prompts.to_pylist()}) > 1, "batches are padded"
    for row, prompt in zip(rows, shared.prompts.to_pylist(), strict=True):
        import torch

        ids = torch.tensor([prompt["prompt"]])
        made = model.generate(ids, do_sample=False, max_new_tokens=prompt["longest"], pad_token_id=0)[0, ids.shape[1] :]
        assert row["generated"] == tokenizer.decode(made, skip_special_tokens=True)
        ended = tokenizer.eos_token_id in made.tolist()
        assert row["after"] == float(ended and row["generated"].strip() == row["expected"].strip())
        assert row["example_id"] == prompt["example_id"] and row["expected"].strip() in ANSWERS


@pytest.mark.parametrize("which", ["tuned", "scored"])
def test_what_a_models_own_generation_settings_say_changes_nothing(which: str, request: pytest.FixtureRequest) -> None:
    """Of a model with an adapter, and of one without."""
    given: Trained = request.getfixturevalue(which)
    own = given.trainer.model.generation_config
    odd = {"min_new_tokens": 5, "suppress_tokens": [7, 8, 9, 10, 11, 12], "no_repeat_ngram_size": 1, "num_beams": 3}
    before = {key: getattr(own, key) for key in odd}
    own.update(**odd)
    try:
        assert rows_of(given.again()[1], "exact_match") == given.rows("exact_match")
        assert given.trainer.model.generation_config is own
    finally:
        own.update(**before)


def test_the_rate_is_of_matches_and_its_bounds_are_exact(tuned: Trained) -> None:
    rows = tuned.rows("exact_match")
    right = sum(row["after"] for row in rows)
    assert len(rows) == HELD_OUT and 0 < right < HELD_OUT, "some of both, or the tests say little"
    assert tuned.outcome["exact_match"] == right / HELD_OUT
    units = exact.effective_count([*Counter(row["content_hash"] for row in rows).values()])
    assert (tuned.outcome["exact_match_lower"], tuned.outcome["exact_match_upper"]) == exact.bounds(
        right / HELD_OUT, units
    )
    assert tuned.outcome["scoring_time_s"] > 0


def test_what_would_have_gone_on_is_no_match(tuned: Trained) -> None:
    """The reference's tokens without an end after them."""
    row = {"example_id": 0, "group": None, "content_hash": "h", "expected": " yes", "longest": 3}

    class Words:
        def decode(self, ids: list[int], **_: Any) -> str:
            return " yes " if ids == [5, 6] or ids == [5, 6, 7] else "other"

    end = 9
    assert generate._compared(Words(), row, [5, 6, end, 0], [end])["after"] == 1.0
    assert generate._compared(Words(), row, [5, 6, 7, 8, end], [end])["after"] == 0.0
    assert generate._compared(Words(), row, [5, end, 6], [end])["after"] == 0.0


# --- training does not notice ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("scored")
    return trained(folder, **asked(folder))


def test_no_loss_and_no_weight_changes_by_a_bit(plain: Trained, scored: Trained) -> None:
    """With dropout, so that a number drawn in between would show; the adapter is on again after the base model was scored."""
    for one in (plain, scored):
        assert one.context.final is not None
    assert [row["loss"] for row in scored.steps] == [row["loss"] for row in plain.steps]
    assert scored.outcome["eval_loss"] == plain.outcome["eval_loss"]
    assert scored.context.evals == plain.context.evals
    files = [one.context.final / "adapter_model.safetensors" for one in (plain, scored) if one.context.final]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_without_the_settings_nothing_is_scored(plain: Trained) -> None:
    assert plain.context.scores == []
    assert not {"forgetting", "exact_match", "scoring_time_s"} & plain.outcome.keys()


def test_the_base_model_is_scored_without_its_adapter(tuned: Trained, scored: Trained) -> None:
    """At the start, when the adapter is nothing, and as well where it is something; to the bit as without any adapter."""
    one, other = ([row["before"] for row in each.rows("loss")] for each in (scored, tuned))
    assert one == other
    for name, table in scored.mine.sets.items():
        found = scores._of_base(scored.context, scored.trainer, table)
        assert found == scored.before.rows[name] != scores._after(scored.context, scored.trainer, table)


# --- the base model is scored once -----------------------------------------------------------------------------------


def test_trials_of_a_model_share_what_it_lost_before_training(scored: Trained) -> None:
    """Whatever is trained on it; another precision makes another model of it, and another set is another question."""

    def key(table: Any, **changed: Any) -> str:
        return scores._key(replace(scored.context, settings={**scored.context.settings, **changed}), table)

    one, other = scored.mine.sets.values()
    same: list[dict[str, Any]] = [{}, {"lora_r": 8}, {"learning_rate": 0.5, "seed": 3, "use_dora": True}]
    assert len({key(one, **changed) for changed in same}) == 1
    different: list[dict[str, Any]] = [
        {},
        {"dtype": "bfloat16"},
        {"bf16": True},
        {"model_name_or_path": "other"},
        {"load_in_4bit": True},
    ]
    place = one.schema.get_field_index("example_id")
    named_otherwise = one.set_column(place, "example_id", [list(range(1, 1 + one.num_rows))])
    assert len({key(one, **changed) for changed in different} | {key(other), key(named_otherwise)}) == 7


def test_what_another_trial_made_is_taken(scored: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [{"example_id": 0, "loss_sum": 7.0, "tokens": 1}]
    monkeypatch.setattr(scores, "_of_base", pytest.fail)
    context = replace(scored.context, once=lambda key, make: kept)
    assert scores.baselines(context, scored.trainer, scored.mine).rows == dict.fromkeys(scored.mine.sets, kept)


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fits", [3, 1, 0])
def test_generating_that_runs_out_of_memory_goes_on_with_half_its_batch(
    fits: int, monkeypatch: pytest.MonkeyPatch, scored: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    inner, sizes = generate._generated, []

    def generated(trainer: Any, batch: Any, ends: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(trainer, batch, ends)

    monkeypatch.setattr(generate, "_generated", generated)
    outcome, rows = scored.again()
    assert sizes[:3] == [8, 4, 2] and outcome["forgetting"] == scored.outcome["forgetting"]
    if fits:
        assert rows_of(rows, "exact_match") == scored.rows("exact_match")
    else:
        assert "exact_match" not in outcome and rows_of(rows, "exact_match") == []
        assert "Exact match could not be scored: OutOfMemoryError" in capsys.readouterr().out


def fail(*anything: Any) -> Any:
    raise RuntimeError("a kernel is missing")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_set_that_cannot_be_scored_leaves_the_rest(
    when: str, scored: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean over other sets would not compare with other trials', so there is none."""
    lost, kept = scored.mine.sets
    inner = evaluate.held_out
    known = scored.before
    if when == "before":
        known = scores.Losses({kept: scored.before.rows[kept]})
    else:
        own = scored.mine.sets[lost]
        monkeypatch.setattr(
            evaluate, "held_out", lambda trainer, table, *rest: (fail if table is own else inner)(trainer, table, *rest)
        )
    outcome, _ = scored.again(before=known)
    assert outcome["forgetting"] is None and outcome["exact_match"] == scored.outcome["exact_match"]
    assert json.loads(outcome["eval_dataset_losses"]) == {kept: json.loads(scored.outcome["eval_dataset_losses"])[kept]}


def test_a_trial_whose_scoring_fails_is_trained_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Trained
) -> None:
    monkeypatch.setattr(scores, "_of_base", fail)
    monkeypatch.setattr(scores, "_after", fail)
    monkeypatch.setattr(generate, "_generated", fail)
    found = trained(tmp_path, **asked(tmp_path))
    assert [row["loss"] for row in found.steps] == [row["loss"] for row in plain.steps]
    assert found.outcome["eval_loss"] == plain.outcome["eval_loss"] and found.context.final is not None
    assert found.context.scores == [] and found.outcome.get("forgetting") is None
    assert found.outcome["scoring_time_s"] > 0


def test_what_scoring_takes_is_counted_by_itself(scored: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the test's own: each set takes an hour."""
    hours = [0.0]

    def held_out(*anything: Any) -> list[Row]:
        hours[0] += 3600.0
        return []

    monkeypatch.setattr(scores, "time", SimpleNamespace(perf_counter=lambda: hours[0]))
    monkeypatch.setattr(evaluate, "held_out", held_out)
    before = scores.baselines(replace(scored.context), scored.trainer, scored.mine)
    outcome, _ = scored.again(before=before, mine=replace(scored.mine, prompts=None))
    assert outcome["scoring_time_s"] == 4 * 3600.0


def test_batches_keep_within_the_models_positions() -> None:
    prompts = [
        {"example_id": n, "prompt": [1] * length, "longest": longest}
        for n, (length, longest) in enumerate([(10, 50), (50, 10), (20, 20), (15, 20)])
    ]
    together = [[row["example_id"] for row in batch] for batch in generate._batches(prompts, 2, 64)]
    assert together == [[0], [2], [3], [1]] or together == [[0, 2], [3], [1]]
    for batch in generate._batches(prompts, 2, 64):
        assert max(len(row["prompt"]) for row in batch) + max(row["longest"] for row in batch) <= 64
    assert [len(batch) for batch in generate._batches(prompts, 2, None)] == [2, 2]


def test_a_loss_that_is_not_finite_is_no_score(scored: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has no NaN, and a mean over the other sets would not compare."""
    name = next(iter(scored.mine.sets))
    broken = [{**row, "loss_sum": float("nan")} for row in scored.before.rows[name]]
    outcome, rows = scored.again(before=scores.Losses({**scored.before.rows, name: broken}))
    assert outcome["forgetting"] is None and name not in json.loads(outcome["eval_dataset_losses"])
    assert not rows_of(rows, "loss", name) and "its loss is not finite" in capsys.readouterr().out
