from pathlib import Path

import pytest

from sweep.config.coercion import coerce
from sweep.config.fields import declared
from sweep.config.layers import preset_names, resolve, verbose
from sweep.config.sweep_config import SweepConfig
from sweep.contract.trainable import Trainable
from sweep.space import Rank

OWN = ["--model_name_or_path", "M", "--dataset_name", "D.json"]


def good(*words: str, cuda: bool = False) -> SweepConfig:
    config, complaints = resolve([*words], cuda)
    assert not complaints
    assert config is not None
    return config


def complaints_of(*words: str) -> str:
    return "\n".join(map(str, resolve([*words], False)[1]))


def test_the_preset_is_the_report_with_cuda_and_the_demo_without() -> None:
    assert good(cuda=True).preset == "opt-350m-codealpaca"
    assert good(cuda=False).preset == "demo"
    assert good(*OWN, cuda=True).preset is None


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_good_configuration(name: str) -> None:
    assert good("--preset", name).name == name


def test_a_flag_beats_the_yaml_and_the_yaml_beats_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("preset: demo\nlearning_rate: 3e-4\nmax_length: 64\nseeds: [5]\n")
    config = good("--config", str(file), "--max_length", "99")
    assert config.settings["learning_rate"] == 3e-4
    assert config.settings["max_length"] == 99
    assert config.seeds == (5,)
    assert config.settings["per_device_train_batch_size"] == 8
    origins = [config.sources[key] for key in ("max_length", "learning_rate", "per_device_train_batch_size")]
    assert origins == ["flag", str(file), "preset demo"]


def test_what_trl_takes_a_trial_takes() -> None:
    config = good(
        *OWN,
        "--no_bf16",
        "--report_to",
        "wandb",
        "tensorboard",
        "--lora-target-modules",
        "q_proj",
        "v_proj",
        "--packing",
    )
    assert config.settings["bf16"] is False
    assert config.settings["report_to"] == ["wandb", "tensorboard"]
    assert config.settings["lora_target_modules"] == ["q_proj", "v_proj"]
    assert config.settings["packing"] is True


def test_axes_come_from_flags_and_yaml_alike(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("grid: {learning_rate: [1e-4, 2e-4], max_length: [64]}\n")
    from_yaml = good(*OWN, "--config", str(file), "--grid", "max_length=32,64")
    assert from_yaml.grid == {"learning_rate": (1e-4, 2e-4), "max_length": (32, 64)}
    listed = good(*OWN, "--grid", "lora_target_modules=[[q_proj, v_proj], all-linear]")
    assert listed.grid["lora_target_modules"] == (["q_proj", "v_proj"], ["all-linear"])


def test_models_and_data_sets_may_be_named_by_an_axis_alone() -> None:
    assert good("--model_name_or_path", "M", "--grid", "dataset_name=a.json,b.json").grid["dataset_name"] == (
        "a.json",
        "b.json",
    )
    assert "dataset_name is missing" in complaints_of("--model_name_or_path", "M", "--grid", "dataset_name=a.json,none")


def test_a_sweep_without_a_preset_is_named_after_model_and_data() -> None:
    assert good("--model_name_or_path", "org/Model-1b", "--dataset_name", "some/rows.jsonl").name == "Model-1b-rows"


@pytest.mark.parametrize("key", sorted(declared(Trainable.CONFIGS)))
def test_every_default_of_the_trainer_is_of_the_type_it_declares(key: str) -> None:
    field = declared(Trainable.CONFIGS)[key]
    if isinstance(field.default, str | int | float | bool):
        assert field.read(field.default) == field.default


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("1e-4", float, 1e-4),
        ("7", float, 7.0),
        ("7", int, 7),
        ("true", bool, True),
        ("none", int | None, None),
        ("7", str, "7"),
    ],
)
def test_texts_become_what_the_setting_is(text: str, hint: object, value: object) -> None:
    result = coerce(text, hint)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("value", "hint"), [("x", int), (1.5, int), (True, int), ("yes please", bool), (None, float), ([1], float)]
)
def test_what_cannot_be_converted_is_refused(value: object, hint: object) -> None:
    with pytest.raises(ValueError, match=r"a |true"):
        coerce(value, hint)


def test_a_flag_takes_back_what_a_file_or_a_preset_says(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "preset: demo\nname: mine\naddress: 'host:1'\nprompt_template: '{instruction}'\nmax_length: 64\n"
        "model_init_kwargs: {a: 1}\nlora_target_modules: [q_proj]\npad_to_multiple_of: 8\n"
    )
    words = ["--config", str(file), *OWN]
    unset = ["prompt_template", "max_length", "model_init_kwargs", "lora_target_modules", "pad_to_multiple_of"]
    config = good(*words, *(word for key in unset for word in (f"--{key}", "none")), "--address=none", "--name", "NULL")
    assert [config.settings[key] for key in unset] == [None] * len(unset)
    assert (config.address, config.name) == (None, "demo")
    without = good(*words, "--preset", "none")
    assert without.preset is None and "learning_rate" not in without.settings
    assert good(*OWN, "--grid", "prompt_template=none,{instruction}").grid["prompt_template"] == (None, "{instruction}")


def test_none_stays_a_word_where_it_is_the_settings_own() -> None:
    """TRL's default of report_to is the text `none`: the same trial whether it is said or not."""
    assert good(*OWN, "--report_to", "none").settings["report_to"] == "none"


@pytest.mark.parametrize("said", ["--verbose", "--verbose=true", "--verbose true", "yaml"])
def test_verbose_is_seen_before_any_library_is_imported(said: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("verbose: true\n")
    from_file = ["--config", str(file)]
    assert verbose(from_file if said == "yaml" else said.split())
    assert not verbose([]) and not verbose([*from_file, "--verbose=false"])
    assert not verbose(["stray"]) and not verbose(["--verbose", "perhaps"]) and not verbose(["--config", "none.yaml"])


def test_all_complaints_come_at_once() -> None:
    said = complaints_of(
        *OWN,
        "--learnin_rate",
        "1",
        "--max_steps",
        "x",
        "--lora_r",
        "8",
        "8",
        "0",
        "--seeds",
        "--margin",
        "2",
        "--grid",
        "foo",
    )
    for word in (
        "Did you mean learning_rate?",
        "--max_steps",
        "8 appears twice",
        "0 cannot be used",
        "--seeds",
        "--margin",
        "--grid foo",
    ):
        assert word in said


# --- --tune and --race --------------------------------------------------------------------------------------------------


def test_a_rate_begins_where_the_user_or_a_preset_says_else_where_published_rules_do() -> None:
    def starts(*words: str) -> tuple[float, float]:
        ladders = good(*words, "--tune", "learning_rate").ladders
        assert ladders is not None
        return ladders.lora.values[ladders.lora.start], ladders.full.values[ladders.full.start]

    assert starts(*OWN) == (3e-4, 3e-5)
    assert starts(*OWN, "--learning_rate", "2e-5") == (2e-5, 2e-6)
    assert starts("--preset", "demo") == (8e-3, 8e-4)
    assert starts(*OWN, "--ladder", "1e-4", "1e-3", "1e-2") == (1e-4, 1e-4), "the nearest of the given ones"


def test_a_ladder_has_the_settings_type_and_no_value_that_it_cannot_have() -> None:
    ladders = good(*OWN, "--tune", "per_device_train_batch_size").ladders
    assert ladders is not None and ladders.lora.values == (8, 24, 80, 240, 800, 2400)
    assert all(type(value) is int for value in ladders.lora.values)
    dropout = good(*OWN, "--tune", "lora_dropout", "--lora_r", "8").ladders
    assert dropout is not None and max(dropout.lora.values) < 1


def test_what_may_be_trained_is_every_rank_value_and_seed() -> None:
    config = good(
        *OWN, "--lora_r", "8", "full", "--tune", "learning_rate", "--race", "--max_seeds", "4", "--seeds", "7"
    )
    trials = config.trials()
    assert config.all_seeds == (7, 0, 1, 2), "those that were named, then the smallest others"
    assert len(trials) == len({trial.trial_id for trial in trials}) == 2 * 10 * 4
    rates: dict[Rank, set[float]] = {trial.rank: set() for trial in trials}
    for trial in trials:
        rates[trial.rank].add(trial.settings["learning_rate"])
    assert max(rates["full"]) == pytest.approx(max(rates[8]) / 10)


def test_a_tuned_trial_at_a_rate_is_the_grids_trial_at_that_rate() -> None:
    tuned = good(*OWN, "--tune", "learning_rate", "--ladder", "1e-4", "1e-3").trials()
    grid = good(*OWN, "--grid", "learning_rate=1e-4,1e-3").trials()
    assert {trial.trial_id for trial in tuned} == {trial.trial_id for trial in grid}
