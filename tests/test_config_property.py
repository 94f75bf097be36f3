"""Whatever a command line and a YAML file hold: it is refused with complaints, or planned; never an exception."""

import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from sweep.common.reading import parse
from sweep.config import configs, machine
from sweep.config import values as of_values
from sweep.config.coercion import describe
from sweep.config.fields import RESERVED, declared
from sweep.config.layers import resolve
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract.loading import load_trainable
from sweep.contract.trainable import Trainable
from sweep.errors import Problem
from sweep.plan import planning as plan
from sweep.store.store import Store

SYNTHETIC = "trainables.synthetic:Synthetic"  # checks no model and no data
OURS = [name for name in FLAGS if name not in ("config", "trainable", "storage_path")]
COMMON = [
    "learning_rate",
    "max_steps",
    "lora_alpha",
    "lora_dropout",
    "report_to",
    "model_init_kwargs",
    "use_dora",
    "bf16",
]
keys = st.one_of(
    st.sampled_from(OURS),
    st.sampled_from(COMMON),
    st.sampled_from(sorted(declared(Trainable.CONFIGS))),
    st.sampled_from(sorted(RESERVED)),
    st.text(max_size=8),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["8", "full", "1e-4", "0x10", "010", "nan", "true", "none", "", "no", "{a: 1}", "[", "a\0b", "../x"]
    ),
    st.text(max_size=8),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
words = st.one_of(scalars.map(str), st.text(max_size=8))
KINDS = {
    "true or false": st.booleans(),
    "a whole number": st.integers(1, 300),
    "a number": st.one_of(st.integers(1, 9), st.floats(0.001, 0.9)),
}
FITTING = {
    name: KINDS[describe(field.hint)]
    for name, field in declared(Trainable.CONFIGS).items()
    if describe(field.hint) in KINDS
}
FITTING |= {"lora_r": st.integers(1, 64), "seeds": st.integers(0, 99), "margin": st.floats(0.001, 0.5)}
fitting_keys = st.one_of(
    st.sampled_from(sorted(FITTING.keys() - RESERVED.keys())), st.sampled_from(["lora_r", "max_steps"])
)
fitting = fitting_keys.flatmap(lambda key: st.tuples(st.just(key), FITTING[key]))
fitting_flags = fitting.map(lambda pair: (pair[0], [json.dumps(pair[1])]))
fitting_axes = fitting_keys.filter(lambda key: key not in ("lora_r", "seeds", "margin")).flatmap(
    lambda key: st.tuples(st.just(key), st.lists(FITTING[key].map(json.dumps), min_size=1, max_size=3, unique=True))
)
wild_flags = st.tuples(keys, st.lists(words, max_size=3))
wild_axes = st.tuples(st.one_of(st.sampled_from(COMMON), keys), st.lists(words, max_size=3))


def mostly(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """A list of the one, in a third of cases with some of the other."""
    return st.one_of(
        st.lists(common, max_size=most), st.lists(common, max_size=1), st.lists(common | rare, max_size=most)
    )


given_flags, axes = mostly(fitting_flags, wild_flags, 4), mostly(fitting_axes, wild_axes, 2)
yaml_files = st.one_of(
    st.just(b""),
    st.lists(fitting, max_size=3).map(lambda pairs: json.dumps(dict(pairs)).encode()),
    st.lists(fitting, max_size=3).map(lambda pairs: json.dumps(dict(pairs)).encode()),
    st.dictionaries(keys, values, max_size=5).map(lambda content: json.dumps(content).encode("utf-8", "replace")),
    st.dictionaries(st.just("grid"), st.dictionaries(keys, values, max_size=2)).map(
        lambda content: json.dumps(content).encode()
    ),
    st.binary(max_size=20),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    chatty = logging.getLogger("transformers")  # it warns of what a setting needs
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
    chatty.setLevel(level)


def command(given: list[tuple[str, list[str]]], grid: list[tuple[str, list[str]]], folder: Path) -> list[str]:
    """A command line for the synthetic trainable."""
    line = [word for key, some in given for word in (f"--{key}", *some)]
    line += [word for key, some in grid for word in ("--grid", f"{key}={','.join(some)}")]
    return [*line, "--trainable", SYNTHETIC, "--storage_path", str(folder), "--config", str(folder / "my.yaml")]


def complaints_and_config(line: list[str]) -> tuple[list[Problem], SweepConfig | None]:
    """All that python -m sweep.grid would say before it starts anything."""
    found, problems = resolve(line, False)
    if found is None:
        return problems, None
    problems += of_values.of_trials(found.trials()) + configs.check(found, load_trainable(SYNTHETIC).CONFIGS)
    if not found.address:
        problems += machine.check(found, 0)
    return found.blamed(problems), found


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(given_flags, axes, yaml_files)
def test_a_configuration_is_refused_or_planned(
    folder: Path, given: list[tuple[str, list[str]]], grid: list[tuple[str, list[str]]], yaml: bytes
) -> None:
    (folder / "my.yaml").write_bytes(yaml)
    complaints, config = complaints_and_config(command(given, grid, folder))
    if complaints:
        assert all(text.strip() == text and text for text in map(str, complaints))
        return
    assert config is not None
    planned = plan.make_plan(config, Store(config.location))
    assert planned.trials and list(planned.todo) == list(planned.trials)
    assert len({trial.trial_id for trial in planned.trials}) == len(planned.trials)
    json.dumps(plan.content(config, planned.trials, {}), allow_nan=False)  # it can be written down


good_axes = st.dictionaries(
    st.sampled_from(["learning_rate", "lora_dropout", "weight_decay", "lora_alpha", "max_steps"]),
    st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True),
    max_size=2,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    good_axes,
)
def test_a_good_configuration_is_planned_whole(
    folder: Path, ranks: list[int], seeds: list[int], axes: dict[str, list[int]]
) -> None:
    (folder / "my.yaml").write_text("")
    chosen = {key: [value / 100 if key == "lora_dropout" else value for value in some] for key, some in axes.items()}
    given = [("lora_r", [*map(str, ranks)]), ("seeds", [*map(str, seeds)])]
    grid = [(key, [*map(str, some)]) for key, some in chosen.items()]
    complaints, config = complaints_and_config(command(given, grid, folder))
    assert complaints == [] and config is not None
    expected = len(ranks) * len(seeds)
    for some in chosen.values():
        expected *= len(some)
    assert len(plan.make_plan(config, Store(config.location)).todo) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_yaml_or_said_to_be_none(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert str(error)
