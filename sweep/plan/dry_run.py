"""What `--dry_run` prints: trials, where each setting came from, lengths, memory and disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep import redact
from sweep.common import program
from sweep.common.formatting import size
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract import disk, length
from sweep.contract.admission import Room, refusal
from sweep.contract.cards import CARDS
from sweep.contract.disk import Footprint
from sweep.contract.length import Length
from sweep.plan import admission
from sweep.plan.planning import Plan
from sweep.space import FULL, Trial, differing


@dataclass(frozen=True)
class Preview:
    """What is known about the trials that would run; mappings are by trial id, and may lack some.

    Attributes:
        sizes: of their checkpoints.
        lengths: in rows, steps and tokens.
        peaks: predicted peaks of max_memory_allocated, in bytes.
        rooms: the device memory that a trial may get.
        first: if a policy chooses the trials, those that it requests first.
        at_most: if a policy chooses the trials, how many there can be.
        scored: what is scored besides the held-out loss, in sentences.
    """

    sizes: Mapping[str, Footprint] = field(default_factory=dict)
    lengths: Mapping[str, Length] = field(default_factory=dict)
    peaks: Mapping[str, int] = field(default_factory=dict)
    rooms: Sequence[Room] = ()
    first: Sequence[Trial] = ()
    at_most: int = 0
    scored: Sequence[str] = ()

    def refusals(self) -> dict[str, str]:
        """Why trials do not fit, by the ids of those that do not."""
        return {name: why for name, peak in self.peaks.items() if (why := refusal(peak, self.rooms))}


def show(planned: Plan, preview: Preview) -> None:
    """Prints to stdout."""
    console = program.console()
    config = planned.config
    console.print(_trials(planned, preview))
    console.print(_settings(planned))
    length.show(planned.todo, preview.lengths, console)
    rejected = len(_rejected(planned, preview))
    counts = {"to run": len(planned.todo) - rejected, "done": len(planned.trials) - len(planned.todo)}
    if config.chooses:
        counts["to run"], rejected = preview.at_most - counts["done"], 0
    at_most = counts["to run"] if config.chooses else None
    lines = [*preview.scored, *_choosing(config), *disk.sentences(planned.todo, preview.sizes, at_most)]
    for line in [*lines, *_memory(preview)]:
        print(line)
    counts |= {"to be rejected": rejected} if rejected else {}
    found = ("At most " if config.chooses else "") + ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"{found}, in {config.location}. Nothing was started.")


def _rejected(planned: Plan, preview: Preview) -> set[str]:
    """The trials that would not be started."""
    return set(preview.refusals()) if planned.config.admit == "fit" else set()


def _choosing(config: SweepConfig) -> list[str]:
    """The values to try of a tuned setting, and the limits of a race."""
    kinds = {FULL if rank == FULL else "LoRA": rank for rank in config.lora_r} if config.ladders else {}
    found = []
    for kind, rank in kinds.items():
        assert config.ladders is not None
        ladder = config.ladders.of(rank)
        values = ", ".join(f"{value:g}" for value in ladder.values)
        found.append(f"{config.tune}, {kind}: {ladder.values[ladder.start]:g} first, of {values}.")
    if config.race:
        found.append(f"Race: at most {config.max_seeds} seeds of a rank, fewer where that decides.")
    return found


def _memory(preview: Preview) -> list[str]:
    if not preview.peaks:
        return []
    where = f" Compared with {'; '.join(dict.fromkeys(map(str, preview.rooms)))}." if preview.rooms else ""
    return [
        "GPU memory: the predicted peak of torch.cuda.max_memory_allocated, and the smallest of "
        f"{', '.join(CARDS)} that it fits.{where}"
    ]


def _trials(planned: Plan, preview: Preview) -> Any:
    from rich.markup import escape
    from rich.table import Table

    title = "Trials that come first" if planned.config.chooses else "Trials"
    table = Table(title=title, title_justify="left", box=None)
    tuned = [planned.config.tune] if planned.config.tune else []
    axes = [*planned.config.grid, *tuned]
    memory = ("GPU memory", "fits") if preview.peaks else ()
    for name in ("trial", "rank", "alpha", "seed", *axes, *memory, "state"):
        table.add_column(name, justify="right" if name in ("rank", "alpha", "seed", "GPU memory") else "left")
    todo = {trial.trial_id for trial in planned.todo}
    rejected = _rejected(planned, preview)
    first = {trial.trial_id for trial in preview.first}
    for trial in planned.trials:
        if planned.config.chooses and trial.trial_id not in first | planned.ended.keys():
            continue
        state = planned.ended.get(trial.trial_id, "")
        alpha = "" if trial.lora_alpha is None else f"{trial.lora_alpha:g}"
        values = [escape(str(trial.axes[axis])) for axis in axes]
        waits = f"to run{f' again ({state})' if state else ''}" if trial.trial_id in todo else state
        if trial.trial_id in rejected:
            waits = "rejected: does not fit"
        cells = _cells(preview.peaks.get(trial.trial_id), planned.config) if memory else []
        table.add_row(trial.trial_id, str(trial.rank), alpha, str(trial.seed), *values, *cells, waits)
    return table


def _cells(peak: int | None, config: SweepConfig) -> list[str]:
    """A trial's memory, and the smallest card that it fits."""
    return ["", ""] if peak is None else [size(peak), admission.smallest_card(peak, config.gpus_per_trial or 1.0)]


def _settings_to_show(config: SweepConfig) -> list[str]:
    """Settings of the sweep that define its trials, and any others that were set explicitly."""
    always = ("lora_r", "seeds", "lora_alpha_rule")
    chosen = [key for key, flag in FLAGS.items() if flag.recorded and key in config.sources and not flag.gathers]
    return list(dict.fromkeys([*always, *chosen]))


def _as_text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _settings(planned: Plan) -> Any:
    from rich.markup import escape
    from rich.table import Table

    config = planned.config
    table = Table(title="Settings", title_justify="left", box=None)
    for name in ("setting", "value", "from"):
        table.add_column(name)
    own = {key: _as_text(getattr(config, key)) for key in _settings_to_show(config)}
    varied = differing([trial.settings for trial in planned.trials])
    values = {
        **own,
        **{key: value for key, value in config.settings.items() if key not in varied or key not in config.grid},
    }
    for key, value in values.items():
        if redact.is_secret(key):
            value = redact.HIDDEN  # what is printed gets into logs and issues
        table.add_row(
            key,
            escape(repr(value) if isinstance(value, str) and key not in own else str(value)),
            config.sources.get(key, "default"),
        )
    for key, axis in config.grid.items():
        table.add_row(f"grid {key}", escape(", ".join(map(str, axis))), config.sources.get(f"grid {key}", "default"))
    return table
