"""python -m benchmarks.prediction_time: seconds that a prediction takes without imports, as wall-clock and CPU time.

Predicts the report's three ranks of opt-350m, and three ranks of an 8 B Llama on all linear layers, each with the largest
batch that fits a card. Also prints the number of simulated steps, which determines the time. About a minute on a quiet core.
"""

import time
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.common import show

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
REPORT = ("--preset", "opt-350m-codealpaca", "--model_name_or_path", str(FIXTURES / "opt-350m"))
LLAMA = (
    *("--model_name_or_path", str(FIXTURES / "llama-3-8b"), "--dataset_name", "unread"),
    *("--lora_r", "8", "128", "256", "--lora_target_modules", "all-linear", "--dtype", "bfloat16", "--bf16", "true"),
)


def predicted(words: tuple[str, ...], length: int) -> dict[str, Any]:
    """Seconds for a command's prediction on an H100, and how many steps were simulated."""
    from sweep.estimate import Assumed, predict
    from sweep.estimate.forecast import checked
    from trainables.predict import predictor

    assumed = Assumed(gpu="h100", rows=20022, length=length)
    config = checked(words, assumed)
    real = predictor.steps.simulate
    with mock.patch.object(predictor.steps, "simulate", side_effect=real) as simulate:
        wall, processor = time.perf_counter(), time.process_time()
        predict(config, assumed)
        took = {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    return {**{name: round(seconds, 1) for name, seconds in took.items()}, "simulated_steps": simulate.call_count}


def main() -> None:
    import trl.trainer.sft_trainer  # noqa: F401  # its imports take seconds

    predicted(REPORT, 16)  # torch imports parts of its own at the first step
    show("prediction_time", {"report": predicted(REPORT, 100), "llama_8b": predicted(LLAMA, 512)})


if __name__ == "__main__":
    main()
