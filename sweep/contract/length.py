"""How long a trial is, known before it runs: what `--dry_run` says about rows, lengths, steps and tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.space import Trial


@dataclass(frozen=True)
class Extent:
    """How much a trial trains: optimizer steps, tokens, and row lengths in tokens. None if the data are not available."""

    steps: int | None
    tokens: int | None
    typical: int
    longest: int


@dataclass(frozen=True)
class Length:
    """How long a trial is. Lengths are in tokens, of whole rows: before they are truncated, split or packed.

    Attributes:
        rows: to train on; `held_out`: to evaluate on.
        median, p95: of the rows' lengths.
        longer: rows longer than `max_length`, which is None if there is no limit.
        sequences: what training sees in an epoch: rows, or packs of rows.
        steps, epochs: of the whole trial.
        tokens: non-padding tokens of the whole trial; exact for whole epochs, otherwise estimated from the mean.
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
    """Prints one sentence if all trials are alike, otherwise a table with a row for each."""
    known = {trial.trial_id: lengths[trial.trial_id] for trial in trials if trial.trial_id in lengths}
    distinct = set(known.values())
    if len(distinct) == 1:
        print(_sentence(distinct.pop()))
    elif distinct:
        console.print(_table(known))


def _sentence(one: Length) -> str:
    sequences = f", in {one.sequences:,} sequences" if one.sequences != one.rows else ""
    limit = "" if one.max_length is None else f"; longer than max_length {one.max_length:,}: {one.cut}"
    epochs = f"{one.epochs:.3g}"
    return (
        f"Length of a trial: {one.rows:,} rows of a median of {one.median:,} tokens, 95th percentile {one.p95:,}{limit}{sequences}; "
        f"{one.held_out:,} rows held out. {one.steps:,} steps, "
        f"{epochs} epoch{'' if epochs == '1' else 's'}, {_tokens(one)} tokens."
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
