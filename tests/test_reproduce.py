"""The command to reproduce is read back by our own parser as the configuration that it came from, whatever that is."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, example, given, settings

from sweep import redact
from sweep.config.coercion import _kinds
from sweep.config.fields import RESERVED, declared
from sweep.config.layers import resolve
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract.trainable import Trainable
from sweep.errors import Problem
from sweep.plan import planning as plan
from sweep.show.reproduce import commands
from sweep.store.loading import Sweep
from sweep.store.store import Store
from tests.answers import of_rows, row

SYNTHETIC = "trainables.synthetic:Synthetic"
SAME = ("name", "settings", *(name for name, flag in FLAGS.items() if flag.recorded))
texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["", " ", "a, b", "a,b", 'it\'s "so"', "--x", "--", "[a]", "[a", "{a}", "none", "null", "true", "~"]
    ),
    st.sampled_from(
        ["1e-4", "8", "$HOME `x`", "a\nb\t", "\x7f\x85\u2028\ufeff", "🙂", "数字", "- a", "a: b", "#", "'", "\\"]
    ),
)
numbers = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False))
inner = st.one_of(st.none(), st.booleans(), numbers, texts)
OF_KIND: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.integers(1, 2**40),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: texts,
    list: st.lists(inner, max_size=3) | st.lists(texts, min_size=1, max_size=3),
    dict: st.dictionaries(texts, inner | st.lists(inner, max_size=2), max_size=3),
}
KINDS = {
    name: kinds
    for name, field in declared(Trainable.CONFIGS).items()
    if name not in RESERVED and not redact.is_secret(name) and set(kinds := _kinds(field.hint)) <= OF_KIND.keys()
}
names = st.one_of(
    st.sampled_from(sorted(KINDS)), st.sampled_from(["lora_target_modules", "report_to", "prompt_template"])
)


def values(name: str) -> st.SearchStrategy[Any]:
    return st.one_of([OF_KIND[kind] for kind in KINDS[name]])


chosen = st.lists(names.flatmap(lambda name: st.tuples(st.just(name), values(name))), max_size=4).map(dict)
axes = st.lists(
    names.flatmap(lambda name: st.tuples(st.just(name), st.lists(values(name), min_size=1, max_size=3))), max_size=2
).map(dict)
own = st.fixed_dictionaries(
    {},
    optional={
        "lora_r": st.lists(st.sampled_from([2, 8, 64, "full"]), min_size=1, max_size=3, unique=True),
        "seeds": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
        "lora_alpha_rule": st.sampled_from(["fixed", "proportional", "rslora"]),
        "gpus_per_trial": st.sampled_from([0, 0.5, 1]),
        "cpus_per_trial": st.floats(0.1, 8),
        "max_concurrent_trials": st.integers(1, 9),
        "on_oom": st.sampled_from(["record", "shrink"]),
        "admit": st.sampled_from(["fit", "all"]),
        "scheduler": st.sampled_from(["fifo", "asha"]),
        "asha_grace_period": st.integers(1, 20),
        "asha_reduction_factor": st.floats(1.5, 9),
        "asha_brackets": st.integers(1, 4),
        "asha_max_t": st.integers(20, 99),
        "margin": st.floats(0.001, 0.5),
    },
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def configured(words: list[str]) -> tuple[SweepConfig, list[Problem]]:
    found, complaints = resolve(words, False)
    assert found is not None
    return found, complaints


def said_to_a_shell(line: str) -> list[str]:
    """The words that a shell makes of a command, over several lines and quoted as it is."""
    script = f'each() {{ printf "%s\\0" "$@"; }}; each {line}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def command_of(config: SweepConfig, folder: Path) -> list[str]:
    """The words of the command that the page of this sweep shows."""
    store = Store(f"{folder}/{config.name}")
    store.write_sweep(plan.content(config, config.trials(), {}))
    (line,) = [
        line for line in commands(Sweep(store.location, store), of_rows(folder, [row()])) if "sweep.grid" in line
    ]
    words = said_to_a_shell(line)
    assert words[:3] == ["python", "-m", "sweep.grid"]
    return words[3:]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen, axes, own)
@example({"report_to": None, "prompt_template": None}, {"lora_target_modules": [["a"], ["a", "b"], None]}, {})
@example({"lora_target_modules": ["a"], "report_to": ["a, b", "c"]}, {"prompt_template": ["a, b", "[c]", '"d"']}, {})
@example({"pad_to_multiple_of": 8, "eos_token": "--x"}, {"learning_rate": [1e-05, 2.0]}, {"scheduler": "asha"})
@example({"model_init_kwargs": {"<<": "\u2028", "a b": [1, "2"]}}, {"packing": [True, False]}, {"on_oom": "shrink"})
def test_it_is_read_back_as_the_same_configuration(
    folder: Path, base: dict[str, Any], grid: dict[str, list[Any]], flags: dict[str, Any]
) -> None:
    (folder / "my.yaml").write_text(json.dumps({**base, **flags, "grid": grid, "trainable": SYNTHETIC, "name": "one"}))
    config, complaints = configured(["--config", str(folder / "my.yaml")])
    assume(not complaints)
    again, complaints = configured(command_of(config, folder))
    assert complaints == []
    assert {key: getattr(again, key) for key in SAME} == {key: getattr(config, key) for key in SAME}
    assert [one.trial_id for one in again.trials()] == [one.trial_id for one in config.trials()]


def test_what_is_the_default_is_left_out_and_the_plain_stays_plain(folder: Path) -> None:
    words = ["--lora_r", "2", "full", "--lora_target_modules", "q", "v", "--grid", "learning_rate=1e-05,2.0"]
    config, complaints = configured([*words, "--trainable", SYNTHETIC, "--name", "one"])
    assert complaints == []
    line = " ".join(command_of(config, folder))
    for part in ("--lora_r 2 full", "--seeds 0", "--grid learning_rate=1e-05,2.0", "--lora_target_modules q v"):
        assert part in line
    assert "--scheduler" not in line and "--margin" not in line and "--cpus_per_trial" not in line


def test_what_a_preset_says_of_lora_is_left_out_where_all_is_full_fine_tuning(folder: Path) -> None:
    config, complaints = configured(["--preset", "demo", "--lora_r", "full"])
    again, wrong = configured(command_of(config, folder))
    assert complaints == wrong == []
    assert [one.trial_id for one in again.trials()] == [one.trial_id for one in config.trials()]
