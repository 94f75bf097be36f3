"""Predicts a sweep: simulates each configuration's step with the trainable, as few times as give the exact result."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweep.common.formatting import with_class
from sweep.common.names import Resolve, resolver
from sweep.config import configs, layers, values
from sweep.config.sweep_config import SweepConfig
from sweep.contract.cards import CARDS, Card, card, fits, most_peak
from sweep.contract.length import Extent
from sweep.contract.loading import load_trainable
from sweep.contract.memory import Device, Step, over_ranks
from sweep.contract.predictor import Predictor
from sweep.errors import Complaint, ConfigError
from sweep.estimate.prediction import Assumed, Predicted, Prediction, alike
from sweep.space import Trial

MOST_ROWS = 4096  # the largest batch to try
# Settings that do not change a step's memory or operations (the rank is handled separately).
FREE = frozenset(
    {
        *("seed", "data_seed", "lora_r", "lora_alpha", "learning_rate", "lr_scheduler_type", "warmup_steps"),
        *("max_steps", "num_train_epochs"),
    }
)


def checked(words: Sequence[str], assumed: Assumed) -> SweepConfig:
    """The configuration of a command line; this machine need not be able to run it.

    Raises:
        ConfigError: with everything that is wrong.
    """
    found, problems = layers.resolve(words, cuda=assumed.device == "cuda")
    if found is None:
        raise ConfigError(problems)
    trials = found.trials()
    problems += values.of_trials(trials)
    problems += configs.check(found, load_trainable(found.trainable).CONFIGS)
    if not problems:
        problems += _predictor(found).check(trials, resolver(str(Path.cwd())))
    if problems:
        raise ConfigError(found.blamed(problems))
    return found


def _predictor(config: SweepConfig) -> Predictor:
    """Raises ConfigError if the trainable has none."""
    found = load_trainable(config.trainable)().predictor()
    if found is None:
        raise ConfigError(
            [Complaint("trainable", f" {config.trainable!r} has no predictor, which a prediction needs.")]
        )
    return found


def predict(config: SweepConfig, assumed: Assumed) -> Prediction:
    """See `sweep.estimate.predict`."""
    gpu, memory_gb = assumed.gpu or config.gpu, assumed.gpu_memory_gb or config.gpu_memory_gb
    assumed = replace(assumed, gpu=gpu, gpu_memory_gb=memory_gb)
    chosen = card(assumed.gpu, assumed.gpu_memory_gb)
    predictor, trials, resolve = _predictor(config), config.trials(), resolver(str(Path.cwd()))
    extents = _extents(trials, predictor, resolve, assumed)
    try:
        found = configurations(trials, predictor, extents, resolve, assumed.device)
        if chosen is not None:
            found = _with_largest(found, trials, predictor, resolve, assumed.device, chosen)
    except Exception as error:  # a model's own code may not work on fake tensors
        text = f"the memory cannot be predicted, because a step cannot be simulated: {with_class(error)}. The sweep may still run."
        raise ConfigError([text]) from error
    price = assumed.price_per_hour
    if price is None and assumed.gpu is not None:
        price = CARDS[assumed.gpu].usd_per_hour
    return Prediction(found, assumed.device, chosen, assumed.gpu, assumed.utilization, price)


def _extents(trials: Sequence[Trial], predictor: Predictor, resolve: Resolve, assumed: Assumed) -> Mapping[str, Extent]:
    """Extents by trial id: from the data, or from the rows and length that were given instead.

    Raises:
        ConfigError: rows of that length are too long for a model.
    """
    found = predictor.extents(trials, resolve, assumed.rows, assumed.length)
    flag = "--max_length" if assumed.length is None else "--length"
    wrong = [
        Complaint(
            "model_name_or_path",
            f" {trial.settings.get('model_name_or_path')}: has {most:,} positions, and rows have up to "
            f"{found[trial.trial_id].longest:,} tokens. Give a smaller {flag}.",
        )
        for trial in trials
        if (most := predictor.positions(trial.settings, resolve)) and found[trial.trial_id].longest > most
    ]
    if wrong:
        raise ConfigError(list(dict.fromkeys(wrong)))
    return found


def _with_largest(
    found: Sequence[Predicted],
    trials: Sequence[Trial],
    predictor: Predictor,
    resolve: Resolve,
    device: Device,
    chosen: Card,
) -> tuple[Predicted, ...]:
    """Finds the largest micro-batch that fits the card for the most demanding configuration; the others fit as many."""
    place = max(range(len(found)), key=lambda index: found[index].peak_bytes)
    settings = alike(trials)[found[place].label][0].settings
    length, batch = found[place].extent.longest, predictor.micro_batch(settings)

    def peak(rows: int) -> int:
        if rows == batch:
            return found[place].peak_bytes
        rows_at_once = {**settings, "per_device_train_batch_size": rows}
        return predictor.step(rows_at_once, resolve, length, device).memory.total

    most = replace(found[place], largest={length: largest_batch(peak, chosen, batch)})
    return tuple(most if index == place else one for index, one in enumerate(found))


def configurations(
    trials: Sequence[Trial], predictor: Predictor, extents: Mapping[str, Extent], resolve: Resolve, device: Device
) -> tuple[Predicted, ...]:
    """One prediction for all trials that differ only in their seed; `extents` are by trial id."""
    groups = {label: (same, extents[same[0].trial_id]) for label, same in alike(trials).items()}
    wanted = [(same[0], length) for same, extent in groups.values() for length in {extent.longest, extent.typical}]
    steps = _steps(wanted, predictor, resolve, device)
    return tuple(
        Predicted(
            label=label,
            lora_r=same[0].rank,
            step=steps[same[0].trial_id, extent.longest],
            typical=steps[same[0].trial_id, extent.typical],
            extent=extent,
            trials=len(same),
            half_precision=predictor.half_precision(same[0].settings),
            notes=tuple(predictor.notes(same[0].settings, device)),
        )
        for label, (same, extent) in groups.items()
    )


def peaks(trials: Sequence[Trial], predictor: Predictor, resolve: Resolve) -> dict[str, int]:
    """Predicted peak of torch.cuda.max_memory_allocated in bytes, by trial id: of the longest rows.

    Raises:
        Exception: whatever a library raises if its code cannot be simulated.
    """
    extents = predictor.extents(trials, resolve, None, None)
    groups = [(same, extents[same[0].trial_id].longest) for same in alike(trials).values()]
    steps = _steps([(same[0], longest) for same, longest in groups], predictor, resolve, "cuda")
    return {one.trial_id: steps[same[0].trial_id, longest].memory.total for same, longest in groups for one in same}


def _steps(
    wanted: Sequence[tuple[Trial, int]], predictor: Predictor, resolve: Resolve, device: Device
) -> dict[tuple[str, int], Step]:
    """Steps by trial id and length. Trials that differ only in rank and alpha are simulated together."""
    families: dict[str, dict[int, list[Trial]]] = {}
    for trial, length in wanted:
        families.setdefault(_family(trial, length), {}).setdefault(trial.lora_r or 0, []).append(trial)
    found: dict[tuple[str, int], Step] = {}
    for key, by_rank in families.items():
        length = json.loads(key)[0]

        def simulate(rank: int, by_rank: Mapping[int, list[Trial]] = by_rank, length: int = length) -> Step:
            return predictor.step(by_rank[rank][0].settings, resolve, length, device)

        steps = over_ranks(list(by_rank), simulate)
        found |= {(trial.trial_id, length): steps[rank] for rank, same in by_rank.items() for trial in same}
    return found


def _family(trial: Trial, length: int) -> str:
    """A key that trials share if they differ only in rank and in settings that affect neither memory nor operations."""
    rest = {key: value for key, value in trial.settings.items() if key not in FREE}
    return json.dumps([length, trial.lora_r is None, rest], sort_keys=True, default=str)


def families(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials that are simulated together."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(_family(trial, 0), []).append(trial)
    return list(found.values())


def largest_batch(peak: Callable[[int], int], card: Card, rows: int = 1) -> int:
    """The largest number of rows at once that fits the card, 0 if not even one does; `peak` returns the bytes for some rows.

    Memory grows linearly with the rows, except for steps from the loss's tiles. So the line through the last two sizes tried
    gives the next one to try (each try takes 7 s for an 8 B model), and the answer is a size that fits while one more row
    does not. The first try is `rows`.
    """
    low, high, wanted = 0, MOST_ROWS + 1, most_peak(card.bytes)
    known = {}
    while high - low > 1:
        known[rows] = size = peak(rows)
        low, high = (max(low, rows), high) if fits(size, card.bytes) else (low, min(high, rows))
        (first, one), (last, other) = ((0, 0), (rows, size)) if len(known) == 1 else list(known.items())[-2:]
        slope = max((other - one) / (last - first), 1)
        rows = min(max(last + int((wanted - other) // slope), low + 1), high - 1)
    return low
