"""The plain script that a sweep replaces: a for loop over the demo's trials in one process, with TRL only.

    python -m benchmarks.bare [--lora_r 2 8 32] [--seeds 0 1] [--max_steps 60] [--threads 1] [--ready]

Prints a JSON list with each trial's seconds. With --ready, the rows are tokenized once before the loop, as in our sweeps;
otherwise each trainer tokenizes them, as it does by default.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any


def settings_of(lora_r: int, seed: int, max_steps: int) -> dict[str, Any]:
    """A demo trial's settings."""
    from sweep.config.layers import DEMO, resolve

    words = ["--preset", DEMO, "--lora_r", str(lora_r), "--seeds", str(seed), "--max_steps", str(max_steps)]
    config, complaints = resolve(words, False)
    assert config is not None and not complaints
    return dict(config.trials()[0].settings)


def trainer_of(settings: dict[str, Any], rows: Any, ready: Any, folder: str, first_step: list[float]) -> Any:
    """The trainer as a user would write it."""
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class FirstStep(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 0:
                first_step.append(time.perf_counter())

    args = SFTConfig(
        output_dir=folder,
        seed=settings["seed"],
        max_steps=settings["max_steps"],
        learning_rate=settings["learning_rate"],
        per_device_train_batch_size=settings["per_device_train_batch_size"],
        max_length=settings["max_length"],
        completion_only_loss=False,
        bf16=False,
        activation_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True} if ready else None,
    )
    adapter = LoraConfig(
        r=settings["lora_r"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules=settings["lora_target_modules"],
        task_type="CAUSAL_LM",
    )
    train, held_out = ready or (rows.train, rows.held_out)
    return SFTTrainer(
        model=settings["model_name_or_path"],
        args=args,
        train_dataset=train,
        eval_dataset=held_out,
        peft_config=adapter,
        callbacks=[FirstStep()],
    )


def loop(trials: Sequence[dict[str, Any]], ready: bool) -> list[dict[str, float]]:
    """Trains, evaluates and saves each trial; returns seconds to the first step, of training, and in total."""
    from trainables.data.rows import load_rows
    from trainables.data.tokens import dataset_of, prepare

    found = []
    with tempfile.TemporaryDirectory() as folder:
        rows = load_rows(trials[0], str)
        made = prepare(rows, trials[0], str, f"{folder}/cache") if ready else None
        tokens = (dataset_of(made.train), dataset_of(made.held_out)) if made else None
        for settings in trials:
            first_step: list[float] = []
            begin = time.perf_counter()
            trainer = trainer_of(settings, rows, tokens, folder, first_step)
            result = trainer.train()
            trainer.evaluate()
            trainer.save_model(f"{folder}/final")
            seconds = time.perf_counter() - begin
            found.append(
                {"to_first_step": first_step[0] - begin, "train": result.metrics["train_runtime"], "all": seconds}
            )
    return found


def run(words: Sequence[str]) -> list[dict[str, float]]:
    """Runs the script in its own process."""
    command = [sys.executable, "-m", "benchmarks.bare", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora_r", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--max_steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ready", action="store_true")
    given = parser.parse_args(argv)
    import torch

    torch.set_num_threads(given.threads)
    trials = [settings_of(rank, seed, given.max_steps) for seed in given.seeds for rank in given.lora_r]
    print(json.dumps(loop(trials, given.ready)))


if __name__ == "__main__":
    main()
