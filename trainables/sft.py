"""One trial around TRL's SFTTrainer: what TRL can do, a trial can do."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sweep.common.names import Resolve, exists_locally
from sweep.common.quiet import notice
from sweep.contract.disk import Footprint
from sweep.contract.identity import Identity, Source
from sweep.contract.length import Length
from sweep.contract.measurer import Measurer
from sweep.contract.predictor import Predictor
from sweep.contract.trainable import Context, Machine, Trainable
from sweep.errors import Complaint, ConfigError, Problem
from sweep.space import Trial
from sweep.store.store import Row
from trainables import hub, model, rehearsal
from trainables.data import mixtures, packing, sources
from trainables.data.forms import COLUMNS
from trainables.data.length import length_of
from trainables.data.rows import Rows, load_rows
from trainables.data.tokens import (
    Tokens,
    data_key,
    data_name,
    fingerprint_of_tokenizer,
    looks_like_a_template,
    prepare,
    tokenizer_complaints,
)
from trainables.scored.scored import Scored
from trainables.scored.sets import names as further_sets


class SFT(Trainable):
    """Supervised fine-tuning with or without LoRA."""

    REQUIRED = ("model_name_or_path", "dataset_name")
    FORMS = COLUMNS

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}
        self._models: dict[str, tuple[str | None, dict[str, Source]]] = {}
        self._tokens: dict[str, Tokens] = {}
        self._scored = Scored()

    def check(self, trials: Sequence[Trial], resolve: Resolve) -> list[Problem]:
        """Everything that is wrong with models and data; each is checked once."""
        hub.cache_only_if_away(_hub_names(trials, resolve))
        found: list[Problem] = [*model.complaints(trials, resolve)]
        of_models = bool(found)
        if not of_models:
            found += _packing_complaints(trials, resolve)
        for settings in _by_data(trials).values():
            rows = None
            if settings.get("dataset_name") or settings.get(
                mixtures.KEY
            ):  # a missing one was reported by the check of the model
                try:
                    rows = self._load(settings, resolve)
                except ConfigError as error:
                    found += error.complaints
            with_model = bool(settings.get("model_name_or_path")) and not of_models
            found += tokenizer_complaints(settings, resolve, rows) if with_model else []
            found += self._scored.problems(settings, resolve, rows, with_model)
        return list(dict.fromkeys(found))

    def check_machine(self, trials: Sequence[Trial], machine: Machine) -> list[Complaint]:
        return rehearsal.complaints(trials, machine)

    def _load(self, settings: Mapping[str, Any], resolve: Resolve) -> Rows:
        key = data_key(settings)
        if key not in self._rows:
            self._rows[key] = load_rows(settings, resolve)
        return self._rows[key]

    def identify(self, trials: Sequence[Trial], resolve: Resolve) -> Identity:
        """The models and data that each trial depends on; each is read once."""
        return {trial.trial_id: self._identity(trial.settings, resolve) for trial in trials}

    def _identity(self, settings: Mapping[str, Any], resolve: Resolve) -> dict[str, Source]:
        data = Source(data_name(settings), self._load(settings, resolve).fingerprint)
        sets = self._scored.identity(settings, resolve)
        return {"data_fingerprint": data, **sets, **self._model(settings, resolve)[1]}

    def _model(self, settings: Mapping[str, Any], resolve: Resolve) -> tuple[str | None, dict[str, Source]]:
        """A model's commit, if it is from the Hub, and the fingerprints of it and its tokenizer."""
        name = model.named(settings)
        if name not in self._models:
            commit = model.commit(settings, resolve)
            pinned = model.pinned(settings, commit)
            self._models[name] = (
                commit,
                {
                    "tokenizer": Source(name, fingerprint_of_tokenizer(pinned, resolve)),
                    "model_fingerprint": Source(name, model.model_fingerprint(pinned, resolve)),
                },
            )
        return self._models[name]

    def prepare(self, trials: Sequence[Trial], resolve: Resolve) -> tuple[dict[str, Tokens], dict[str, Any]]:
        """Tokens by data key, made once for all trials that share them."""
        needed = _by_data(trials)
        for key, settings in needed.items():
            if key not in self._tokens:
                self._tokens[key] = self._tokenized(settings, resolve)
        return {key: self._tokens[key] for key in needed}, {}

    def _tokenized(self, settings: Mapping[str, Any], resolve: Resolve) -> Tokens:
        rows = self._load(settings, resolve)
        commit, _ = self._model(settings, resolve)
        pinned = model.pinned(settings, commit)
        made = prepare(rows, pinned, resolve, on_make=partial(_say_tokenizing, rows))
        scored = self._scored.made(rows, made, pinned, resolve)
        for warning in (*rows.warnings, *made.warnings, *scored.warnings):
            print(f"warning: {warning}", file=sys.stderr)
        return replace(made, commit=commit, sets=scored.sets, prompts=scored.prompts)

    def scored(self, trials: Sequence[Trial], resolve: Resolve) -> list[str]:
        """The further held-out sets with their sizes, and how many prompts there are to generate from."""
        shared, _ = self.prepare(trials, resolve)
        found = [
            line
            for key, settings in _by_data(trials).items()
            for line in self._scored.sentences(settings, shared[key], resolve)
        ]
        return list(dict.fromkeys(found))

    def lengths(self, trials: Sequence[Trial], resolve: Resolve) -> Mapping[str, Length]:
        """How long the trials are, by trial id. Tokenizes their data unless the tokens are cached."""
        shared, _ = self.prepare(trials, resolve)
        return {trial.trial_id: _length(trial.settings, shared) for trial in trials}

    def footprints(self, trials: Sequence[Trial], resolve: Resolve) -> Mapping[str, Footprint]:
        """How large the trials' checkpoints will be."""
        from trainables.predict.footprint import footprints

        return footprints(trials, resolve)

    def predictor(self) -> Predictor:
        from trainables.predict.predictor import StepPredictor  # torch

        return StepPredictor(self.prepare)

    def measurer(self) -> Measurer:
        from trainables.measure.measurer import StepMeasurer  # torch

        return StepMeasurer(self.prepare)

    def warm(self) -> None:
        import trainables.training.train  # noqa: F401  # seconds

    def run(self, context: Context) -> Row:
        from trainables.training.train import train  # transformers, seconds to import: in the trial's process only

        return train(context)


def _length(settings: Mapping[str, Any], shared: Mapping[str, Tokens]) -> Length:
    tokens = shared[data_key(settings)]
    return length_of(settings, tokens.train, tokens.held_out.num_rows)


def _packing_complaints(trials: Sequence[Trial], resolve: Resolve) -> list[Complaint]:
    wrong, unknown = packing.complaints(trials, resolve)
    for warning in unknown:
        print(f"warning: {warning}", file=sys.stderr)
    return wrong


def _say_tokenizing(rows: Rows) -> None:
    count = len(rows.train) + len(rows.held_out)
    notice(f"Tokenizing {count:,} rows, once: the tokens are kept.")


def _by_data(trials: Sequence[Trial]) -> dict[str, Mapping[str, Any]]:
    """One trial's settings for each set of tokens that the trials need."""
    return {data_key(trial.settings): trial.settings for trial in reversed(trials)}


def _hub_names(trials: Sequence[Trial], resolve: Resolve) -> list[str]:
    """What will be requested from the Hub: models, data sets and chat templates that are not local files, nor meant as such."""
    path_like = {
        "model_name_or_path": model.looks_like_a_path,
        "dataset_name": sources.looks_like_a_path,
        "chat_template_path": looks_like_a_template,
    }
    named = {(str(trial.settings[key]), key) for trial in trials for key in path_like if trial.settings.get(key)}
    named |= {(path, "dataset_name") for trial in trials for path in mixtures.hub_names(trial.settings)}
    named |= {(name, "dataset_name") for trial in trials for name in further_sets(trial.settings)}
    return [name for name, key in sorted(named) if not path_like[key](name) and not exists_locally(resolve(name))]
