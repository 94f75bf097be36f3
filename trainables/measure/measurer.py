"""SFT's Measurer for `python -m sweep.estimate --measure`: runs a few steps of the real trainer in this process."""

import ctypes
import gc
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.common.names import Resolve
from sweep.common.quiet import quiet
from sweep.contract.measurer import Asked, Phase, Ran, Timed
from sweep.contract.memory import Device
from sweep.contract.predictor import Settings
from sweep.contract.trainable import Context
from sweep.errors import Complaint
from sweep.space import Trial
from trainables import model
from trainables.data.packing import FLASH
from trainables.data.tokens import Tokens, data_key
from trainables.measure import rows as rows_of
from trainables.measure.network import random_weights, tokenizer
from trainables.predict.predictor import Prepare
from trainables.training.meters import Memory, peak_rss_bytes, reset_peak_rss

TokensOf = Callable[[Trial, Resolve], Tokens]
WARMUP = 3  # steps: in them kernels are compiled and memory is first allocated, and their long rows set the peak
# Overrides a trial's settings: nothing but training, on rows in the given order.
ALONE = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
    "train_sampling_strategy": "sequential",
    "shuffle_dataset": False,
}


class StepMeasurer:
    """A Measurer; `prepare` returns the trials' tokens by data key, unless random data are trained on."""

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare
        self._tokens: dict[str, Tokens] = {}

    def _tokens_of(self, trial: Trial, resolve: Resolve) -> Tokens:
        """Reads tokens once. Warnings are dropped: the prediction has shown them for the same rows."""
        key = data_key(trial.settings)
        if key not in self._tokens:
            with redirect_stderr(io.StringIO()):
                self._tokens |= self._prepare([trial], resolve)[0]
        return self._tokens[key]

    def device_name(self, device: Device) -> str:
        import platform

        import torch

        return str(torch.cuda.get_device_name()) if device == "cuda" else platform.processor() or platform.machine()

    def check(self, trials: Sequence[Trial], resolve: Resolve, random_weights: bool) -> list[Complaint]:
        return model.complaints(trials, resolve, with_weights=not random_weights)

    def packed(self, settings: Settings, device: Device) -> Settings:
        if device != "cuda":
            raise ValueError(f"{FLASH} needs a GPU.")
        if importlib.util.find_spec("kernels") is None:
            raise ValueError(
                f"{FLASH} is loaded by the package `kernels`, which is not installed: pip install kernels."
            )
        packing = {"packing": True, "packing_strategy": "bfd", "attn_implementation": FLASH}
        return {**packing, "bf16": True, "fp16": False}

    def run(self, trial: Trial, resolve: Resolve, asked: Asked, phases: Sequence[Phase]) -> Ran:
        from trainables.measure.clock import Clock

        memory = Memory.of(asked.device)
        with tempfile.TemporaryDirectory() as folder, quiet(), _as_a_trial(asked):
            _clean(asked.device)
            can_reset = reset_peak_rss()
            before = peak_rss_bytes()
            job = _Job(trial, resolve, asked, phases, Path(folder))
            clock = Clock(WARMUP, phases, _wait(asked.device))
            rows = job.train(self._tokens_of, memory, clock)
            peaks, rss = memory.read(), peak_rss_bytes()
        return Ran(
            phases=tuple(_timed(rows, clock.seconds, phases, job.rows_a_step)),
            allocated_bytes=peaks["peak_memory_allocated_bytes"],
            reserved_bytes=peaks["peak_memory_reserved_bytes"],
            rss_bytes=rss,
            rss_growth_bytes=rss - before if can_reset else None,
        )


@dataclass
class _Job:
    """One training: the warm-up, the phases, and one more step that ends the last phase."""

    trial: Trial
    resolve: Resolve
    asked: Asked
    phases: Sequence[Phase]
    folder: Path

    @property
    def settings(self) -> Settings:
        return self.trial.settings

    def __post_init__(self) -> None:
        from trl import SFTConfig

        from trainables.training.train import arguments

        steps = WARMUP + sum(phase.steps for phase in self.phases) + 1
        chosen = {**self.settings, **ALONE, "max_steps": steps}
        context = Context(
            trial_id="measured",
            settings=chosen,
            shared=None,
            resolve=self.resolve,
            work_dir=self.folder,
            report=lambda row: None,
            save=lambda folder, step: None,
            should_stop=lambda: False,
        )
        self.args = SFTConfig(**{**arguments(context), "use_cpu": self.asked.device == "cpu"})
        self.batch = self.args.per_device_train_batch_size
        self.rows_a_step = self.batch * self.args.gradient_accumulation_steps

    def train(self, tokens_of: TokensOf, memory: Memory, clock: Any) -> list[rows_of.Row]:
        """Trains, and returns the rows in order. Nothing of the trainer is left when it returns."""
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import SFTTrainer, get_peft_config, get_quantization_config

        from trainables.training.callback import StepRows

        chosen = model.model_config(self.settings)
        network, more = self._network()
        rows = self._rows(tokens_of)
        trainer = SFTTrainer(
            model=network,
            args=self.args,
            train_dataset=Dataset.from_list(rows),
            quantization_config=get_quantization_config(chosen),
            peft_config=get_peft_config(chosen),
            callbacks=[StepRows(lambda row: None, memory=memory), clock],
            **more,
        )
        trainer.remove_callback(PrinterCallback)
        memory.reset()
        trainer.train()
        return rows

    def _network(self) -> tuple[Any, dict[str, Any]]:
        if self.asked.random_weights:
            made = random_weights(self.settings, self.resolve, self.args.device)
            return made, {"processing_class": tokenizer()}
        self.args.model_init_kwargs = model.init_kwargs(self.settings, self.args.device)
        return self.resolve(str(self.settings["model_name_or_path"])), {}

    def _rows(self, tokens_of: TokensOf) -> list[rows_of.Row]:
        """The warm-up's rows, then the same ones in every phase, so that phases can be compared, and the last step's."""
        before, most = WARMUP * self.rows_a_step, max(phase.steps for phase in self.phases) * self.rows_a_step
        if self.asked.length is None:
            first, rest = rows_of.of_data(tokens_of(self.trial, self.resolve).train, before, most, self.settings)
        else:
            made = rows_of.of_chance(before + most, self.batch, self.asked.length, self._vocabulary(), self.settings)
            first, rest = made[:before], made[before:]
        of_phases = [row for phase in self.phases for row in rest[: phase.steps * self.rows_a_step]]
        return [*first, *of_phases, *rest[: self.rows_a_step]]

    def _vocabulary(self) -> int:
        from transformers import AutoConfig

        name = self.resolve(str(self.settings["model_name_or_path"]))
        config = AutoConfig.from_pretrained(
            name, revision=model.revision(self.settings), trust_remote_code=bool(self.settings.get("trust_remote_code"))
        )
        return int(config.get_text_config().vocab_size)


def _wait(device: Device) -> Any:
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _clean(device: Device) -> None:
    """Frees what the previous measurement left, so that it neither adds to the next peak nor masks it."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


@contextmanager
def _as_a_trial(asked: Asked) -> Iterator[None]:
    """Within the block, torch has as many threads as in a trial, and libraries' deprecation warnings are hidden."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(asked.threads or threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        torch.set_num_threads(threads)


def _timed(rows: list[rows_of.Row], seconds: list[float], phases: Sequence[Phase], rows_a_step: int) -> list[Timed]:
    found, begin = [], WARMUP * rows_a_step
    for phase, took in zip(phases, seconds, strict=True):
        end = begin + phase.steps * rows_a_step
        found.append(Timed(phase.steps, took, *rows_of.counted(rows[begin:end])))
        begin = end
    return found
