"""One trial around TRL's SFTTrainer: what TRL can do, a trial can do."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.disk import Footprint
from sweep.errors import ConfigError
from sweep.names import Resolve, is_there
from sweep.space import Trial
from sweep.store import Row
from trainables import hub, model, packing, sources
from trainables.context import Context
from trainables.data import Rows, load_rows
from trainables.tokens import Tokens, data_key, looks_like_a_template, prepare, tokenizer_complaints


class SFT:
    """Supervised fine-tuning with or without LoRA."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        """All that is wrong with models and data; each is looked at once."""
        hub.cache_only_if_away(_hub_names(trials, resolve))
        found = model.complaints(trials, resolve)
        of_models = bool(found)
        if not of_models:
            found += _packing_complaints(trials, resolve)
        for settings in _by_data(trials).values():
            rows = None
            if settings.get("dataset_name"):  # that it is missing has been said, as of the model
                try:
                    rows = self._load(settings, resolve)
                except ConfigError as error:
                    found += error.complaints
            if settings.get("model_name_or_path") and not of_models:
                found += tokenizer_complaints(settings, resolve, rows)
        return list(dict.fromkeys(found))

    def _load(self, settings: Mapping[str, Any], resolve: Resolve) -> Rows:
        key = data_key(settings)
        if key not in self._rows:
            self._rows[key] = load_rows(settings, resolve)
        return self._rows[key]

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[dict[str, Tokens], dict[str, Any]]:
        """Tokens by data key, made once for all trials that share them; and content fingerprints."""
        shared = {}
        for key, settings in _by_data(trials).items():
            rows = self._load(settings, resolve)
            shared[key] = prepare(rows, settings, resolve)
            for warning in (*rows.warnings, *shared[key].warnings):
                print(f"warning: {warning}", file=sys.stderr)
        names = dict.fromkeys(str(trial.settings["model_name_or_path"]) for trial in trials)
        notes = {
            "data_fingerprint": _one_or_all([tokens.fingerprint for tokens in shared.values()]),
            "tokenizer": _one_or_all([tokens.tokenizer for tokens in shared.values()]),
            "model_fingerprint": _one_or_all([model.model_fingerprint(name, resolve) for name in names]),
        }
        return shared, notes

    def warm(self) -> None:
        import trainables.training  # noqa: F401  # seconds

    def footprints(self, trials: Sequence[Trial], resolve: Resolve) -> Mapping[str, Footprint]:
        """How large the trials' checkpoints will be."""
        from trainables.footprint import footprints

        return footprints(trials, resolve)

    def run(self, context: Context) -> Row:
        from trainables.training import train  # transformers, seconds to import: in the trial's process only

        return train(context)


def _packing_complaints(trials: Sequence[Trial], resolve: Resolve) -> list[str]:
    wrong, unknown = packing.complaints(trials, resolve)
    for warning in unknown:
        print(f"warning: {warning}", file=sys.stderr)
    return wrong


def _by_data(trials: Sequence[Trial]) -> dict[str, Mapping[str, Any]]:
    """One trial's settings for each set of tokens that the trials need."""
    return {data_key(trial.settings): trial.settings for trial in reversed(trials)}


def _hub_names(trials: Sequence[Trial], resolve: Resolve) -> list[str]:
    """What the Hub will be asked for: models, data sets and chat templates that are none of a file here, nor meant as one."""
    path_like = {
        "model_name_or_path": model.looks_like_a_path,
        "dataset_name": sources.looks_like_a_path,
        "chat_template_path": looks_like_a_template,
    }
    named = {(str(trial.settings[key]), key) for trial in trials for key in path_like if trial.settings.get(key)}
    return [name for name, key in sorted(named) if not path_like[key](name) and not is_there(resolve(name))]


def _one_or_all(values: Sequence[str]) -> str:
    return ",".join(dict.fromkeys(values))
