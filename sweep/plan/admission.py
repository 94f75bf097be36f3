"""`--admit fit`: which cards trials may get, and which of the trials fit one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweep.config.sweep_config import SweepConfig
from sweep.contract.admission import Room, refusal
from sweep.contract.cards import CARDS, Card, card, of_device
from sweep.plan.shrink import Attempted
from sweep.space import Trial

Forecast = Callable[
    [Sequence[Trial]], Mapping[str, int]
]  # predicted peaks in bytes, by trial id, as far as there are any
LABEL = "accelerator_type:"  # of a node's resource that names its GPUs


def nothing(trials: Sequence[Trial]) -> Mapping[str, int]:
    """An empty forecast, for a sweep that needs none."""
    return {}


def with_predictions(trials: Sequence[Attempted], forecast: Forecast) -> list[Attempted]:
    """With what is foreseen of them as they are to be run."""
    found = forecast([one.as_run for one in trials])
    return [replace(one, predicted_bytes=found.get(one.trial.trial_id)) for one in trials]


def is_asked(config: SweepConfig, gpus: float) -> bool:
    """Whether the trials' memory is predicted before they run: seconds for each configuration that a CPU sweep has no use for."""
    return bool(gpus) or declared(config) is not None or config.source("admit") != "default"


def declared(config: SweepConfig) -> Card | None:
    """The card that the user says trials run on."""
    return card(config.gpu, config.gpu_memory_gb)


def rooms(config: SweepConfig, gpus: float, nodes: Sequence[Mapping[str, Any]] | None) -> list[Room]:
    """What a trial with so many GPUs may get, as far as all of it is known; else nothing: the worker knows its own device.

    Args:
        nodes: those of a cluster that are there, as `ray.nodes()` has them; None for this machine.
    """
    share = gpus or 1.0
    if (chosen := declared(config)) is not None:
        return [Room(f"--gpu {config.gpu}" if config.gpu else "the card of --gpu_memory_gb", chosen.bytes, share)]
    if not gpus:
        return []
    found = _of_this_machine() if nodes is None else _of_nodes(nodes)
    return [] if None in found else [Room(name, size, share) for name, size in filter(None, found)]


def _of_this_machine() -> list[tuple[str, int] | None]:
    import torch

    if not torch.cuda.is_available():
        return []
    devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [(f"this machine's {one.name}", int(one.total_memory)) for one in devices]


def _of_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[tuple[str, int] | None]:
    """Names and bytes of the cards of each node that has a GPU; None for one whose card is not known."""
    having = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("GPU")]
    return [_of_labels([key.removeprefix(LABEL) for key in one if key.startswith(LABEL)]) for one in having]


def _of_labels(labels: Sequence[str]) -> tuple[str, int] | None:
    known = [(label, found) for label in labels if (found := _labeled(label))]
    if not known:
        return None
    label, found = min(known, key=lambda one: one[1].bytes)  # A100-40G beside A100
    return f"the cluster's {label}", found.bytes


def _labeled(label: str) -> Card | None:
    """Ray's plain A100 does not say which of the two it is: what might fit is not refused."""
    return CARDS["a100-80"] if label.casefold() == "a100" else of_device(label)


def parted(trials: Sequence[Attempted], where: Sequence[Room]) -> tuple[list[Attempted], dict[str, str]]:
    """The trials that fit, and by trial id why each of the others does not."""
    refused = {one.trial.trial_id: why for one in trials if (why := refusal(one.predicted_bytes, where))}
    return [one for one in trials if one.trial.trial_id not in refused], refused


def foreseen(config: SweepConfig) -> list[Room]:
    """The cards as far as they are known with nothing started: for `--dry_run`."""
    gpus = 1.0 if config.gpus_per_trial is None else config.gpus_per_trial
    return rooms(config, gpus, None) if config.cluster is None or declared(config) is not None else []


def smallest(peak_bytes: int, share: float) -> str:
    """The smallest card by name that such a trial fits with its share of it."""
    having = {name: Room(name, one.bytes, share) for name, one in CARDS.items()}
    fitting = [room for room in having.values() if room.fits(peak_bytes)]
    return min(fitting, key=lambda room: room.card_bytes).name if fitting else "none of these"
