"""How long a trial is, before it runs: what `--dry_run` says of rows, lengths, steps and tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.space import Trial


@dataclass(frozen=True)
class Extent:
    """How much a trial trains: optimizer steps, and lengths of its rows in tokens. Null where the data are not at hand."""

    steps: int | None
    tokens: int | None
    typical: int
    longest: int


@dataclass(frozen=True)
class Length:
    """What a trial will go through. Lengths are in tokens, and of whole rows: before those are cut, split or packed.

    Attributes:
        rows: to train on; `held_out`: to evaluate on.
        median, p95: of the rows' lengths.
        longer: rows longer than `max_length`, which is None where there is no limit.
        sequences: that training sees in an epoch: rows, or packs of them.
        steps, epochs: of the whole trial.
        tokens: non-padding ones of the whole trial; exact for whole epochs, the mean's otherwise.
    """

    rows: int
    held_out: int
    median: int
    p95: int
    longer: int
    max_length: int | None
    sequences: int
    steps: int
    epochs: float
    tokens: int

    @property
    def cut(self) -> str:
        """The share of rows that are longer than max_length."""
        share = self.longer / self.rows
        return "none" if not self.longer else "under 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def show(trials: Sequence[Trial], lengths: Mapping[str, Length], console: Any) -> None:
    """Prints one sentence where all trials are alike, else a row of a table for each."""
    known = {trial.trial_id: lengths[trial.trial_id] for trial in trials if trial.trial_id in lengths}
    distinct = set(known.values())
    if len(distinct) == 1:
        print(_sentence(distinct.pop()))
    elif distinct:
        console.print(_table(known))


def _sentence(one: Length) -> str:
    sequences = f", in {one.sequences:,} sequences" if one.sequences != one.rows else ""
    limit = "" if one.max_length is None else f"; longer than max_length {one.max_length:,}: {one.cut}"
    return (
        f"Length of a trial: {one.rows:,} rows of a median of {one.median:,} tokens, 95th percentile {one.p95:,}{limit}{sequences}; "
        f"{one.held_out:,} rows held out. {one.steps:,} steps, {one.epochs:.3g} epochs, {_tokens(one)} tokens."
    )


def _tokens(one: Length) -> str:
    return f"{'' if one.epochs == round(one.epochs) else 'about '}{one.tokens:,}"


def _table(known: Mapping[str, Length]) -> Any:
    from rich.table import Table

    table = Table(title="Length of each trial", title_justify="left", box=None)
    for name in ("trial", "rows", "median", "95 %", "cut", "steps", "epochs", "tokens"):
        table.add_column(name, justify="left" if name == "trial" else "right")
    for name, one in known.items():
        counts = [f"{count:,}" for count in (one.rows, one.median, one.p95)]
        table.add_row(name, *counts, one.cut, f"{one.steps:,}", f"{one.epochs:.3g}", _tokens(one))
    return table
