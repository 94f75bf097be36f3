"""A YAML file written for `trl sft` means the same to a sweep. The examples are those of TRL's documentation."""

import dataclasses
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, SFTConfig, TrlParser

from sweep import grid
from sweep.config import configs, layers, machine
from sweep.config.sweep_config import SweepConfig
from sweep.config.values import of_trials
from sweep.contract.loading import load_trainable
from sweep.errors import Problem
from trainables.model import model_config
from trainables.synthetic import Synthetic

CLASSES = (ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig)

# Settings of examples in TRL's documentation and scripts (clis, example_config.yaml, sft.py, peft_integration, LoRA without
# regret, sft_gpt_oss.py), as a YAML file has them.
EXAMPLES = {
    "clis": "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: stanfordnlp/imdb\n",
    "example_config": "model_name_or_path:\n  Qwen/Qwen2.5-0.5B\ndataset_name:\n  stanfordnlp/imdb\nreport_to:\n  none\n"
    "learning_rate:\n  0.0001\nlr_scheduler_type:\n  cosine\n",
    "full training": "model_name_or_path: Qwen/Qwen2-0.5B\ndataset_name: trl-lib/Capybara\nlearning_rate: 2.0e-5\n"
    "num_train_epochs: 1\npacking: true\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 8\n"
    "eos_token: '<|im_end|>'\neval_strategy: steps\neval_steps: 100\noutput_dir: Qwen2-0.5B-SFT\npush_to_hub: true\n",
    "LoRA": "model_name_or_path: Qwen/Qwen2-0.5B\ndataset_name: trl-lib/Capybara\nlearning_rate: 2.0e-4\nuse_peft: true\n"
    "lora_r: 32\nlora_alpha: 16\nlora_dropout: 0.05\noutput_dir: runs/Qwen2-0.5B-SFT-LoRA\nlogging_steps: 25\nseed: 7\n",
    "QLoRA": "model_name_or_path: meta-llama/Llama-2-7b-hf\ndataset_name: trl-lib/Capybara\nload_in_4bit: true\n"
    "use_bnb_nested_quant: true\nbnb_4bit_quant_type: fp4\nuse_peft: true\nlora_r: 32\nlora_alpha: 16\n"
    "per_device_train_batch_size: 1\ngradient_accumulation_steps: 16\n",
    "without regret": "model_name_or_path: Qwen/Qwen2.5-3B-Instruct\ndataset_name: open-thoughts/OpenThoughts-114k\n"
    'eval_strategy: "no"\nuse_peft: true\nlora_r: 256\nlora_alpha: 16\nlora_target_modules: all-linear\nreport_to: none\n',
    "a schedule": 'lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {"min_lr_rate": 0.1}\nwarmup_steps: 0.03\n'
    "max_length: 4096\ndtype: bfloat16\nattn_implementation: kernels-community/vllm-flash-attn3\nmax_grad_norm: 1e-1\n"
    "dataset_num_proc: 2\nrun_name: 20b-full-eager\n",
    "kinds of values": "learning_rate: 2e-4\nweight_decay: 1e-2\nmodel_init_kwargs: '{\"use_cache\": false}'\n"
    "optim_args: null\nlora_target_modules: [q_proj, v_proj]\nlora_modules_to_save: [lm_head]\nuse_rslora: true\n"
    "use_dora: yes\nload_best_model_at_end: false\nassistant_only_loss: true\ncompletion_only_loss: null\n"
    "dataset_streaming: false\nignore_bias_buffers: false\ngradient_checkpointing: true\n"
    "gradient_checkpointing_kwargs: {use_reentrant: false}\nloss_type: dft\npacking_strategy: wrapped\n"
    "dataset_train_split: train_sft\ndataset_test_split: test_sft\ndataset_config: default\n",
    "a mixture": "model_name_or_path: Qwen/Qwen2.5-0.5B\ndatasets:\n  - path: stanfordnlp/imdb\n"
    "  - path: roneneldan/TinyStories\n    split: train[:10]\n    columns: [text]\nstreaming: false\ntest_split_size: 0.1\n",
}
# What a sweep decides itself, and how a test of this file looks at each; every other setting has TRL's own value.
DECIDED = {"output_dir", "push_to_hub", "use_peft", "logging_steps", "seed", "lora_r"}
MISSING = ("--model_name_or_path is missing", "--dataset_name is missing")  # an example may be of settings alone
HERE = ("--use_cpu", "--bf16", "false")


def resolved(folder: Path, text: str, *words: str) -> tuple[SweepConfig, list[Problem]]:
    file = folder / "sft.yaml"
    file.write_text(text)
    no_preset = [] if "preset" in text else ["--preset", "none"]
    config, problems = layers.resolve(["--config", str(file), *no_preset, *words], False)
    assert config is not None
    return config, config.blamed(problems)


def good(folder: Path, text: str, *words: str) -> SweepConfig:
    config, problems = resolved(folder, text, *words)
    assert [one for one in map(str, problems) if not one.startswith(MISSING)] == []
    assert of_trials(config.trials()) == [] and configs.check(config, load_trainable(config.trainable).CONFIGS) == []
    return config


def said(folder: Path, text: str, *words: str) -> list[str]:
    config, problems = resolved(folder, text, *words)
    found = [*problems, *of_trials(config.trials())]
    return [one for one in map(str, config.blamed(found)) if not one.startswith(MISSING)]


def values_of_trl(file: Path, keys: set[str]) -> dict[str, Any]:
    """The settings as TRL's own parser reads them."""
    parsed = TrlParser(CLASSES).parse_args_and_config(["--config", str(file), *HERE])
    return {
        key: getattr(one, key) for one in parsed for key in keys if key in {f.name for f in dataclasses.fields(one)}
    }


def values_of_trial(config: SweepConfig, keys: set[str]) -> dict[str, Any]:
    """The same settings as the first trial's trainer is given them."""
    settings = config.trials()[0].settings
    names = {field.name for field in dataclasses.fields(SFTConfig) if field.init}
    trainer = configs.instantiate(SFTConfig, {key: value for key, value in settings.items() if key in names})
    given = (model_config(settings), trainer)
    found = {key: settings[key] for key in keys if key in settings}
    return found | {key: getattr(one, key) for one in given for key in keys if hasattr(one, key)}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # deprecated settings of TRL's own examples
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_trial_has_the_values_that_trl_reads(name: str, tmp_path: Path) -> None:
    config = good(tmp_path, EXAMPLES[name])
    keys = (
        set(layers.read_file(str(tmp_path / "sft.yaml"))[0]) - DECIDED - {"datasets", "streaming", "dataset_streaming"}
    )
    expected = values_of_trl(tmp_path / "sft.yaml", keys)
    assert expected.keys() == keys
    assert values_of_trial(config, keys) == expected


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_mixture_has_the_data_sets_that_trl_reads(tmp_path: Path) -> None:
    config = good(tmp_path, EXAMPLES["a mixture"])
    (mixture,) = values_of_trl(tmp_path / "sft.yaml", {"datasets"}).values()
    given = [{key: value for key, value in dataclasses.asdict(one).items() if value is not None} for one in mixture]
    assert [{"split": "train", **one} for one in config.settings["datasets"]] == given
    assert config.name == "Qwen2.5-0.5B-imdb-TinyStories"


# --- what a sweep decides itself ----------------------------------------------------------------------------------------


def test_the_folder_the_seed_and_the_rank_are_a_sweeps(tmp_path: Path) -> None:
    config = good(tmp_path, EXAMPLES["LoRA"])
    assert (config.location, config.seeds, config.lora_r) == ("runs/Qwen2-0.5B-SFT-LoRA", (7,), (32,))
    assert not {"output_dir", "seed", "use_peft", "logging_steps"} & config.settings.keys()
    moved = good(tmp_path, EXAMPLES["LoRA"], "--name", "mine", "--lora_r", "8", "full", "--seeds", "0", "1")
    assert (moved.location, moved.seeds, moved.lora_r) == ("runs/mine", (0, 1), (8, "full"))


@pytest.mark.parametrize(
    ("given", "location"),
    [("a", "./a"), ("a/b/", "a/b"), ("/a", "/a"), ("s3://bucket/a", "s3://bucket/a"), ("~/runs/a", "~/runs/a")],
)
def test_output_dir_is_the_sweeps_folder(given: str, location: str, tmp_path: Path) -> None:
    assert good(tmp_path, f"output_dir: {given}\n").location == location
    assert good(tmp_path, f"output_dir: {given}\nname: mine\n").name == "mine"


def test_without_a_word_about_peft_ranks_are_compared(tmp_path: Path) -> None:
    """TRL's default is full fine-tuning; what a sweep is for is ranks."""
    assert good(tmp_path, EXAMPLES["clis"]).lora_r == (8, 32, 128)
    assert good(tmp_path, "use_peft: true\n").lora_r == (8, 32, 128)


def test_use_peft_false_is_full_fine_tuning_whatever_lora_settings_stand_there(tmp_path: Path) -> None:
    text = "use_peft: false\nlora_r: 16\nlora_alpha: 64\nlora_target_modules: all-linear\n"
    (trial,) = good(tmp_path, text).trials()
    assert trial.rank == "full" and not any(key.startswith("lora_") for key in trial.settings)
    ranked, full = good(tmp_path, text, "--lora_r", "8", "full").trials()
    assert (ranked.settings["lora_alpha"], full.rank) == (64, "full")
    assert said(tmp_path, text, "--use_dora") == [
        "--use_dora: has no effect, since every trial is full fine-tuning. Leave it out, or add a rank to --lora_r."
    ]


def test_what_is_not_used_is_noted_and_what_asks_for_nothing_is_not(tmp_path: Path) -> None:
    text = "push_to_hub: true\nlogging_steps: 10\ndo_eval: true\nresume_from_checkpoint: null\ndo_predict: false\n"
    text += "num_processes: 1\naccelerate_config: single_gpu\nstreaming: false\ndataset_streaming: false\nfsdp: ''\n"
    config = good(tmp_path, text)
    where = f"(in {tmp_path / 'sft.yaml'}) is not used:"
    assert config.notes == (
        f"logging_steps {where} every step is recorded.",
        f"do_eval {where} a trial always evaluates at its end.",
        f"push_to_hub {where} every trial would push to the same repository. Afterwards push the one that you choose: "
        "`python -m sweep.export FOLDER --push_to_hub USER/NAME`.",
    )
    assert config.settings == {}
    both = good(tmp_path, "dataset_name: a/b\ndatasets: [{path: c/d}]\n")
    assert "dataset_name" not in both.settings and "TRL prefers" in both.notes[0]


def test_what_was_named_last_are_the_rows(tmp_path: Path) -> None:
    mixed = "preset: demo\ndatasets: [{path: a/b}]\n"
    assert "dataset_name" not in good(tmp_path, mixed).settings
    assert "datasets" not in good(tmp_path, mixed, "--dataset_name", "c.json").settings
    flag = good(tmp_path, "dataset_name: c.json\n", "--datasets", "[{path: a/b, fraction: 0.5}]")
    assert flag.settings == {"datasets": [{"path": "a/b", "fraction": 0.5}]}


REFUSED = {
    "num_processes: 4": "num_processes {0}: cannot be set here: a trial has one GPU or a part of one, and is not started by "
    "accelerate. For the batch of N processes, multiply gradient_accumulation_steps by N.",
    "accelerate_config: zero2": "accelerate_config {0}: cannot be set here: a trial has one GPU or a part of one, and is not "
    "started by accelerate. load_in_4bit and activation_checkpointing make room for a larger model.",
    "streaming: true": "streaming {0}: cannot be set here: a sweep reads its data once; streaming has no length to compare over.",
    "deepspeed: zero.json": "deepspeed {0}: cannot be set here: a trial has one GPU, so there is nothing to shard. load_in_4bit makes "
    "room for a larger model.",
    "fsdp: full_shard": "fsdp {0}: cannot be set here: a trial has one GPU, so there is nothing to shard. load_in_4bit makes room for "
    "a larger model.",
    "use_peft: false\nload_in_8bit: true": "load_in_8bit {0}: works with LoRA only, and a trial is full fine-tuning. Leave full or "
    "this out.",
    "env: [A]": "env {0}: cannot be set here: it is a mapping of variables to values, as in {{CUDA_VISIBLE_DEVICES: 0}}",
    "env: {A: [1]}": "env {0}: expected names and values, as in {{CUDA_VISIBLE_DEVICES: 0}}.",
    "use_peft: perhaps": "use_peft {0}: cannot be set here: a rank in --lora_r means LoRA, `full` means full fine-tuning.",
    "gradient_checkpointing_use_reentrant: true": "gradient_checkpointing_use_reentrant {0}: unrecognized setting.",
}


class Own(Synthetic):
    """A trainable with settings under names that mean something else to TRL's launcher."""

    SETTINGS: ClassVar[dict[str, tuple[Any, str]]] = {
        "num_processes": (int, "of its own"),
        "gpu_ids": (str, "its own"),
    }


def test_what_is_the_launchers_may_be_a_trainables_own(tmp_path: Path) -> None:
    text = "trainable: tests.test_trl_configs:Own\nnum_processes: 1\ngpu_ids: a\n"
    assert good(tmp_path, text).settings == {"num_processes": 1, "gpu_ids": "a"}


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_sweep_cannot_do_is_one_sentence(text: str, tmp_path: Path) -> None:
    (found,) = said(tmp_path, f"{EXAMPLES['clis']}{text}\n")
    assert found.startswith(REFUSED[text].format(f"(in {tmp_path / 'sft.yaml'})"))


# --- env ----------------------------------------------------------------------------------------------------------------


def test_env_is_set_before_anything_else_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SWEEP_A", "SWEEP_B"):
        monkeypatch.setenv(name, "before")
    file = tmp_path / "sft.yaml"
    file.write_text("env:\n  SWEEP_A: 0\n  SWEEP_B: hidden-value\ngrid: nonsense\n")
    assert grid.main(["--config", str(file)]) == 2
    assert (os.environ["SWEEP_A"], os.environ["SWEEP_B"]) == ("0", "hidden-value")


def test_env_is_in_no_setting_and_not_for_a_cluster(tmp_path: Path) -> None:
    config = good(tmp_path, "env: {SWEEP_A: hidden-value}\n")
    assert "hidden-value" not in repr(config)
    assert machine.check(config, devices=1) == []
    config = good(tmp_path, "env: {SWEEP_A: 1}\naddress: auto\n")
    (found,) = config.blamed(machine.check(config, devices=1))
    assert str(found).startswith(f"env (in {tmp_path / 'sft.yaml'}): is set on this machine, and trials run on")
