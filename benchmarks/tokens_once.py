"""Tokens made once for a sweep and shared, against each trial tokenizing for itself.

    python -m benchmarks.tokens_once [--rows 20022] [--trials 12] [--usual 3] [--model DIR]

Ours: the driver prepares the rows (with an empty cache) and puts the tables into Ray's object store, and a worker fetches
them and makes a `Dataset` of them, once per trial. The usual way: building a trainer on the raw rows, minus the time to
build one on ready tokens, so that neither side includes the model and the trainer's other work. The worker's process is
warm, like a reused trial process. Tokenizations are counted as calls of the tokenizer.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parents[1] / "trainables" / "demo" / "model"
WORDS = (
    "return",
    "a",
    "function",
    "that",
    "adds",
    "numbers",
    "to",
    "the",
    "list",
    "for",
    "each",
    "value",
    "in",
    "range",
)
WANTED = {"tokenizations": 1, "seconds_to_dataset": 0.2}


def write_rows(path: Path, count: int) -> None:
    """Writes rows with CodeAlpaca's three fields and about its lengths."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            texts = [
                " ".join(draw.choices(WORDS, k=draw.randint(low, high))) for low, high in ((8, 20), (0, 8), (20, 90))
            ]
            row = dict(zip(("instruction", "input", "output"), texts, strict=True))
            file.write(json.dumps({**row, "output": f"{texts[2]} {number}"}) + "\n")


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the calls of all tokenizers in this process."""
    from transformers import PreTrainedTokenizerBase

    calls = [0]
    real = PreTrainedTokenizerBase.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return real(self, *args, **kwargs)

    PreTrainedTokenizerBase.__call__ = call
    try:
        yield calls
    finally:
        PreTrainedTokenizerBase.__call__ = real


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def trainer(model: Any, tokenizer: Any, train: Any, held_out: Any, folder: str, **extra: Any) -> Any:
    from trl import SFTConfig, SFTTrainer

    args = SFTConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        max_length=256,
        **extra,
    )
    return SFTTrainer(model=model, args=args, train_dataset=train, eval_dataset=held_out, processing_class=tokenizer)


class Worker:
    """A warm trial process: the libraries are imported."""

    def warm(self) -> None:
        import pyarrow as pa

        from trainables.data.tokens import dataset_of

        dataset_of(pa.table({"input_ids": [[1]]}))

    def trial(self, references: list[Any]) -> tuple[float, int]:
        """Seconds until the first batch of a `Dataset` was read, and its number of rows."""
        import ray

        from trainables.data.tokens import dataset_of

        def start() -> Any:
            data = dataset_of(ray.get(references[0]))
            data[:8]
            return data

        seconds, data = timed(start)
        return seconds, len(data)


def shared(made: Any, trials: int) -> list[float]:
    """Seconds from a reference to a `Dataset`, for each trial, in a real Ray worker."""
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    reference = ray.put(made.train)

    worker = ray.remote(num_cpus=1)(Worker).remote()
    ray.get(worker.warm.remote())
    results = [ray.get(worker.trial.remote([reference])) for _ in range(trials)]
    ray.shutdown()
    assert all(rows == made.train.num_rows for _, rows in results)
    return [seconds for seconds, _ in results]


def measure(model: str, rows_count: int, trials: int, usual: int) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sweep.common.quiet import quiet
    from trainables.data.rows import load_rows
    from trainables.data.tokens import READY, dataset_of, prepare

    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "rows.jsonl"
        write_rows(file, rows_count + 1_000)
        settings = {"dataset_name": str(file), "model_name_or_path": model, "max_length": 256, "test_split_size": 1_000}
        rows = load_rows(settings, str)
        with counted() as ours_calls:
            prepare_seconds, made = timed(lambda: prepare(rows, settings, str, Path(folder) / "cache"))
        cached_seconds, again = timed(lambda: prepare(rows, settings, str, Path(folder) / "cache"))
        assert again.cached
        seconds = shared(made, trials)
        network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
        usual_seconds = []
        with counted() as usual_calls:
            for _ in range(usual):
                ready = (dataset_of(made.train), dataset_of(made.held_out))
                base, _ = timed(lambda: trainer(network, tokenizer, *ready, folder, **READY))  # noqa: B023
                whole, _ = timed(lambda: trainer(network, tokenizer, rows.train, rows.held_out, folder))
                usual_seconds.append(whole - base)
    ours, theirs = statistics.median(seconds), statistics.median(usual_seconds)
    texts = ours_calls[0]
    return {
        "benchmark": "tokens_once",
        "rows": len(rows.train),
        "trials": trials,
        "tokenizations": texts / (usual_calls[0] / usual),
        "tokenizations_usual_way": trials,  # each of the measured ones made the same calls
        "trials_usual_way_measured": usual,
        "tokenizer_calls": texts,
        "tokenizer_calls_usual_way_per_trial": usual_calls[0] / usual,
        "seconds_to_dataset": round(ours, 5),
        "seconds_to_dataset_slowest": round(max(seconds), 5),
        "seconds_to_dataset_usual_way": round(theirs, 3),
        "ratio": round(theirs / ours, 1),
        "seconds_to_prepare_once": round(prepare_seconds, 3),
        "seconds_to_prepare_from_cache": round(cached_seconds, 3),
        "wanted": WANTED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_022, help="training rows")
    parser.add_argument("--trials", type=int, default=12, help="trials that get the shared tokens")
    parser.add_argument("--usual", type=int, default=3, help="trials of the usual way that are measured")
    parser.add_argument("--model", default=str(DEMO), help="folder of a model and its tokenizer")
    given = parser.parse_args()
    print(json.dumps(measure(given.model, given.rows, given.trials, given.usual), indent=2))


if __name__ == "__main__":
    main()
