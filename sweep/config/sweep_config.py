"""The settings of a sweep. Each is declared once, here; its flag, `--help`, YAML key, checks and record follow from that."""

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sweep.config.flags import Range, Recorded, declared, flag
from sweep.contract.cards import CARDS
from sweep.errors import Complaint, Problem, written
from sweep.ladder import Ladders
from sweep.space import AlphaRule, Rank, Trial, trials

HIGHEST_RANK = 2**16  # no model has a wider layer


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep's configuration: its flags, and in `settings` the trainer settings that all trials share.

    `sources` says where each value came from: `flag`, a file's name, `preset NAME`; defaults have no source. The key of an
    axis is `grid KEY`.
    """

    lora_r: tuple[Rank, ...] = flag(
        "LoRA ranks to compare; `full` is full fine-tuning",
        (8, 32, 128),
        "RANK",
        within=Range(least=1, most=HIGHEST_RANK),
        example="8 32",
        recorded="axes",
    )
    seeds: tuple[int, ...] = flag(
        "seeds of each configuration; three or more distinguish effects from noise",
        (0,),
        "SEED",
        within=Range(least=0, most=2**32 - 1),
        example="0 1 2",
        recorded="axes",
    )
    grid: Mapping[str, tuple[Any, ...]] = flag(
        "another axis: any trainer setting; can be repeated", {}, "KEY=V1,V2", recorded="axes"
    )
    lora_alpha_rule: AlphaRule = flag(
        "fixed | proportional (lora_alpha/16 per rank) | rslora", "fixed", "RULE", recorded="rules"
    )
    tune: str | None = flag(
        "numeric setting to tune for each rank, such as learning_rate", None, "KEY", recorded="flags"
    )
    ladder: tuple[float, ...] = flag(
        "values to choose from with --tune; default: 1 and 3 of every decade, two decades in each direction",
        (),
        "VALUE",
        example="1e-4 3e-4 1e-3",
    )
    race: bool = flag("train more seeds only for ranks that can still change the answer", False, "", recorded="flags")
    max_seeds: int = flag(
        "maximum seeds per rank in a race: --seeds, then further ones",
        10,  # the number of looks that was simulated: benchmarks/race.py
        "N",
        within=Range(least=1),
    )
    budget_gpu_hours: float | None = flag(
        "with --tune or --race: start no more trials once this many are spent", None, "HOURS", within=Range(above=0)
    )
    preset: str | None = flag(
        "settings to start from: demo | opt-350m-codealpaca | opt-350m-codealpaca-fast", None, "NAME", recorded=None
    )
    config: str | None = flag("YAML file of the same keys as the flags", None, "FILE", recorded=None)
    name: str = flag("name of the sweep; give the same name to resume it", None, "NAME", recorded=None)
    storage_path: str = flag("folder or URI (s3://…) for sweeps", "results", "PATH", recorded=None)
    gpus_per_trial: float | None = flag(
        "GPUs per trial, fractions allowed; 0 trains on the CPU; default: 1, or 0 on a machine without a GPU",
        None,
        "N",
        within=Range(least=0, most=1),
        beyond="A trial runs on one GPU or a fraction of one.",
    )
    cpus_per_trial: float = flag(
        "CPU cores per trial, and its threads if it has no GPU", 1.0, "N", within=Range(above=0)
    )
    max_concurrent_trials: int | None = flag(
        "maximum number of trials at once; default: as many as fit", None, "N", within=Range(least=1)
    )
    storage_patience_s: float = flag(
        "seconds that a trial waits for an unreachable store, at its start and end",
        120.0,
        "N",
        within=Range(least=0),
        recorded=None,
    )
    on_oom: Literal["record", "shrink"] = flag(
        "record | shrink: shrink retries with half the micro-batch, accumulated twice as often", "record", "WHAT"
    )
    admit: Literal["fit", "all"] = flag(
        "fit | all: fit rejects trials whose predicted memory fits no card", "fit", "WHAT"
    )
    gpu: str | None = flag(
        f"card that trials run on: {', '.join(CARDS)}; default: detected", None, "CARD", recorded=None
    )
    gpu_memory_gb: float | None = flag(
        "the card's memory in GB of 10^9 bytes, for one not listed under --gpu", None, "GB", recorded=None
    )
    scheduler: Literal["fifo", "asha"] = flag(
        "fifo | asha: asha stops trials early that are worse than others at the same step", "fifo", "NAME"
    )
    asha_grace_period: int = flag("steps before ASHA can stop a trial", 10, "N", within=Range(least=1))
    asha_reduction_factor: float = flag(
        "ASHA's reduction factor: one in this many trials continues, to this many times as many steps",
        3.0,
        "N",
        within=Range(above=1),
    )
    asha_brackets: int = flag("ASHA brackets, with increasingly long grace periods", 1, "N", within=Range(least=1))
    asha_max_t: int | None = flag(
        "step at which every trial ends; default: its last step", None, "N", within=Range(least=1)
    )
    max_failures: int = flag(
        "how often to restart a trial whose process died", 2, "N", within=Range(least=0), recorded=None
    )
    address: str | None = flag(
        "running Ray cluster to use; default: RAY_ADDRESS, otherwise this machine", None, "ADDRESS", recorded=None
    )
    trainable: str = flag("class that runs a trial, as module:name", "trainables.sft:SFT", "IMPORT", recorded="rules")
    margin: float = flag(
        "acceptable increase in held-out loss for a cheaper rank, as a share",
        0.005,
        "SHARE",
        within=Range(above=0, below=1),
        beyond="It is a share of the loss: half a percent is 0.005.",
    )
    dry_run: bool = flag("show the trials and where each setting came from; start nothing", False, "", recorded=None)
    quiet: bool = flag("print only the answer, warnings and errors", False, "", recorded=None)
    verbose: bool = flag("show what Ray, TRL and the Hub print", False, "", recorded=None)

    settings: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # on what a file says and a sweep does not use
    ladders: Ladders | None = None  # with `tune`: from `ladder`, or around the setting's first value

    @property
    def location(self) -> str:
        """Folder or URI of this sweep."""
        return f"{self.storage_path.rstrip('/')}/{self.name}"

    @property
    def cluster(self) -> str | None:
        """Address of the running Ray cluster that trials run on; None for this machine, as Ray's own "local" is."""
        address = self.address or os.environ.get("RAY_ADDRESS")
        return None if address == "local" else address or None

    @property
    def chooses(self) -> bool:
        """Whether results decide which trials run; then `trials` are all candidates."""
        return self.tune is not None or self.race

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of each configuration; for a race, `seeds` and then the smallest other numbers."""
        if not self.race:
            return self.seeds
        unnamed = (seed for seed in itertools.count() if seed not in self.seeds)
        return tuple(itertools.islice(itertools.chain(self.seeds, unnamed), self.max_seeds))

    def trials(self) -> list[Trial]:
        """All trials that this command may run."""
        if self.ladders is None:
            return trials(self.settings, self.lora_r, self.all_seeds, self.grid, self.lora_alpha_rule)
        return [
            trial
            for rank, ladder in ((rank, self.ladders.of(rank)) for rank in self.lora_r)
            for trial in trials(
                self.settings,
                [rank],
                self.all_seeds,
                {self.ladders.key: ladder.values},
                self.lora_alpha_rule,
            )
        ]

    def recorded(self, part: Recorded) -> dict[str, Any]:
        """The flags that a part of sweep.json records."""
        return {name: getattr(self, name) for name, one in FLAGS.items() if one.recorded == part}

    def source(self, key: str) -> str:
        """Where a setting's value came from; `default` if it was not set."""
        return self.sources.get(self._full(key), "default")

    def written(self, key: str) -> str:
        """A setting's name as the user wrote it."""
        return written(self._full(key), self.source(key))

    def blamed(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems without duplicates, each with the source of the value that it is about."""
        return list(dict.fromkeys(map(self._blamed, problems)))

    def _blamed(self, problem: Problem) -> Problem:
        if not isinstance(problem, Complaint) or problem.source is not None:
            return problem
        return replace(problem, key=self._full(problem.key), source=self.source(problem.key))

    def _full(self, key: str) -> str:
        if key == self.tune and self.ladder:
            return "ladder"
        return f"grid {key}" if key in self.grid else key


FLAGS = declared(SweepConfig)
