"""Predicts the size of a trial's checkpoints from the model without its weights, adapter included."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.common.names import Resolve
from sweep.contract.disk import Footprint
from sweep.errors import Complaint
from sweep.space import Trial
from trainables import model

TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "added_tokens.json",
)
# Numbers of optimizer state per parameter; any other optimizer has two, as Adam.
STATES = {"sgd": 0.0, "adafactor": 0.0, "lion_32bit": 1.0, "rmsprop": 1.0, "adagrad": 1.0}


def footprints(trials: Sequence[Trial], resolve: Resolve) -> dict[str, Footprint]:
    """Footprints by trial id; a trial whose model cannot be built has none."""
    found: dict[str, Footprint] = {}
    same: dict[str, Footprint | None] = {}
    for trial in trials:
        alike = repr(sorted((key, value) for key, value in trial.settings.items() if key != "seed"))
        if alike not in same:
            same[alike] = _footprint(trial.settings, resolve)
        size = same[alike]
        if size:
            found[trial.trial_id] = size
    return found


def _footprint(settings: Mapping[str, Any], resolve: Resolve) -> Footprint | None:
    name = str(settings["model_name_or_path"])
    network = model.skeleton(name, settings, resolve)
    if isinstance(network, Complaint):
        return None
    if "lora_r" in settings:
        try:
            network = model.with_adapter(network, settings)
        except ValueError:  # the trial will report why
            return None
    weights = sum(one.numel() * _width(one, settings) for one in network.parameters() if one.requires_grad)
    final = weights + _tokenizer_bytes(Path(resolve(name)))
    best = final if settings.get("load_best_model_at_end") else 0  # kept along with the newest
    return Footprint(newest=round(final + _optimizer_bytes(settings, weights) + best), final=final)


def _width(parameter: Any, settings: Mapping[str, Any]) -> int:
    """Bytes per number: adapters are saved in full precision, a whole model in the precision it is loaded in."""
    dtype = model.model_config(settings).dtype if "lora_r" not in settings else "float32"
    return int({"auto": parameter.element_size(), "bfloat16": 2, "float16": 2}.get(dtype, 4))


def _optimizer_bytes(settings: Mapping[str, Any], weights: int) -> float:
    kind = str(settings.get("optim") or "adamw")
    return STATES.get(kind, 2.0) * (1 / 4 if "8bit" in kind else 1.0) * weights


def _tokenizer_bytes(folder: Path) -> int:
    return sum({path: path.stat().st_size for pattern in TOKENIZER for path in folder.glob(pattern)}.values())
