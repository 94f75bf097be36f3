"""`--admit fit`: which cards trials may run on, and which trials fit one of them."""

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
]  # predicted peaks in bytes by trial id, where there is a prediction
LABEL = "accelerator_type:"  # prefix of the node resource that names its GPUs


def no_forecast(trials: Sequence[Trial]) -> Mapping[str, int]:
    """An empty forecast, for a sweep that needs none."""
    return {}


def with_predictions(trials: Sequence[Attempted], forecast: Forecast) -> list[Attempted]:
    """The trials with the predicted memory of how they will be run."""
    found = forecast([one.as_run for one in trials])
    return [replace(one, predicted_bytes=found.get(one.trial.trial_id)) for one in trials]


def predicts_memory(config: SweepConfig, gpus: float) -> bool:
    """Whether memory is predicted before trials run. It takes seconds per configuration, so not for a CPU sweep by default."""
    return bool(gpus) or declared_card(config) is not None or config.source("admit") != "default"


def declared_card(config: SweepConfig) -> Card | None:
    """The card that the user named, if any."""
    return card(config.gpu, config.gpu_memory_gb)


def rooms(config: SweepConfig, gpus: float, nodes: Sequence[Mapping[str, Any]] | None) -> list[Room]:
    """The device memory that a trial with this many GPUs may get. Empty unless every card is known: workers check theirs.

    Args:
        nodes: a cluster's nodes as `ray.nodes()` lists them; None for this machine.
    """
    share = gpus or 1.0
    if (chosen := declared_card(config)) is not None:
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
    """Name and bytes of the card of each node that has a GPU; None if a node's card is not known."""
    having = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("GPU")]
    return [_of_labels([key.removeprefix(LABEL) for key in one if key.startswith(LABEL)]) for one in having]


def _of_labels(labels: Sequence[str]) -> tuple[str, int] | None:
    known = [(label, found) for label in labels if (found := _card_of_label(label))]
    if not known:
        return None
    label, found = min(known, key=lambda one: one[1].bytes)  # A100-40G beside A100
    return f"the cluster's {label}", found.bytes


def _card_of_label(label: str) -> Card | None:
    """Ray's plain A100 may be either of two sizes: the larger is assumed, so that a trial that might fit is not rejected."""
    return CARDS["a100-80"] if label.casefold() == "a100" else of_device(label)


def split_by_fit(trials: Sequence[Attempted], where: Sequence[Room]) -> tuple[list[Attempted], dict[str, str]]:
    """The trials that fit, and for each of the others, by id, why it does not."""
    refused = {one.trial.trial_id: why for one in trials if (why := refusal(one.predicted_bytes, where))}
    return [one for one in trials if one.trial.trial_id not in refused], refused


def known_rooms(config: SweepConfig) -> list[Room]:
    """The cards that are known before anything starts, for `--dry_run`."""
    gpus = 1.0 if config.gpus_per_trial is None else config.gpus_per_trial
    return rooms(config, gpus, None) if config.cluster is None or declared_card(config) is not None else []


def smallest_card(peak_bytes: int, share: float) -> str:
    """Name of the smallest card on which such a trial fits, given its share of a card."""
    having = {name: Room(name, one.bytes, share) for name, one in CARDS.items()}
    fitting = [room for room in having.values() if room.fits(peak_bytes)]
    return min(fitting, key=lambda room: room.card_bytes).name if fitting else "none of these"
