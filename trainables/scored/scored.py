"""What a sweep's trials score beside the held-out loss: checked, read and tokenized once for all of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from sweep.common.names import Resolve
from sweep.contract.identity import Source
from sweep.errors import ConfigError, Problem
from trainables.data.rows import Rows, trained_on
from trainables.data.tokens import Tokens, tokenizer_complaints
from trainables.scored import prompts
from trainables.scored.sets import CONFIG, Set, load_set, names, tokens_of

Settings = Mapping[str, Any]


class Made(NamedTuple):
    """Tokens of the further held-out sets by name, prompts to generate from if they were asked for, and warnings about both."""

    sets: dict[str, pa.Table]
    prompts: pa.Table | None
    warnings: list[str]


class Scored:
    """The further held-out sets of some trials, each read once, and their prompts."""

    def __init__(self) -> None:
        self._sets: dict[Any, Set] = {}

    def sets(self, settings: Settings, resolve: Resolve) -> list[Set]:
        """The sets that the settings name.

        Raises:
            ConfigError: one of them cannot be used.
        """
        return [self._set(name, settings, resolve) for name in names(settings)]

    def _set(self, name: str, settings: Settings, resolve: Resolve) -> Set:
        text = ("dataset_test_split", "dataset_text_field", "prompt_template")  # how rows are read
        key = (name, settings.get(CONFIG), *(settings.get(one) for one in text))
        if key not in self._sets:
            self._sets[key] = load_set(name, settings, resolve)
        return self._sets[key]

    def problems(self, settings: Settings, resolve: Resolve, rows: Rows | None, with_model: bool) -> list[Problem]:
        """Everything that is wrong with them.

        Args:
            rows: the data set's, if they can be used.
            with_model: whether the model can be used, so that its tokenizer is worth a look.
        """
        found: list[Problem] = [*prompts.complaints(settings, rows)]
        for name in names(settings):
            try:
                one = self._set(name, settings, resolve)
            except ConfigError as error:
                found += error.complaints
                continue
            found += tokenizer_complaints(settings, resolve, one.rows) if with_model else []
        return found

    def identity(self, settings: Settings, resolve: Resolve) -> dict[str, Source]:
        """The content of the sets, so that a sweep goes on with the same ones only; nothing without any."""
        found = self.sets(settings, resolve)
        name, content = (", ".join(one.name for one in found), ",".join(one.rows.fingerprint for one in found))
        return {"eval_data_fingerprint": Source(name, content)} if found else {}

    def made(self, rows: Rows, held_out: Tokens, settings: Settings, resolve: Resolve) -> Made:
        """Their tokens.

        Raises:
            ConfigError: TRL refuses to prepare them with these settings, or there is nothing to generate from.
        """
        made = Made({}, None, [])
        for one in self.sets(settings, resolve):
            made.sets[one.name], said = tokens_of(one, settings, resolve)
            made.warnings.extend(f"{one.name}: {line}" for line in (*one.rows.warnings, *_trained_on(one, rows), *said))
        if not settings.get(prompts.KEY):
            return made
        table, said = prompts.prompts(rows, held_out.held_out, settings, resolve)
        return made._replace(prompts=table, warnings=[*made.warnings, *said])

    def sentences(self, settings: Settings, tokens: Tokens, resolve: Resolve) -> list[str]:
        """What `--dry_run` says of them."""
        sets = [str(one) for one in self.sets(settings, resolve)]
        found = [f"Forgetting: loss before and after training on {'; '.join(sets)}."] if sets else []
        if tokens.prompts is not None:
            found.append(f"Exact match: {tokens.prompts.num_rows:,} held-out prompts to generate from after training.")
        return found


def _trained_on(one: Set, rows: Rows) -> list[str]:
    """That a set has rows that are trained on, which nothing forgets."""
    again = trained_on(one.rows.held_out, rows.train)
    if not again:
        return []
    return [
        f"{again} of {one.count} rows also occur among the training rows, word for word: forgetting looks smaller than it is. "
        "Remove them from one of the two."
    ]
