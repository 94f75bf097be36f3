"""What `--dry_run` prints: the trials, where each setting came from, how long they are and what disk they take."""

from collections.abc import Mapping
from typing import Any

from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.contract import disk, length
from sweep.contract.disk import Footprint
from sweep.contract.length import Length
from sweep.plan.planning import Plan
from sweep.space import differing


def show(planned: Plan, sizes: Mapping[str, Footprint], lengths: Mapping[str, Length]) -> None:
    """Prints to stdout. `sizes` are those of the trials' checkpoints, `lengths` the trials' own, as far as they are known."""
    from rich.console import Console

    console = Console()
    config = planned.config
    console.print(_trials(planned))
    console.print(_settings(planned))
    length.show(planned.todo, lengths, console)
    for line in disk.sentences(planned.todo, sizes):
        print(line)
    done = len(planned.trials) - len(planned.todo)
    print(f"{len(planned.todo)} to run, {done} done, in {config.location}. Nothing was started.")


def _trials(planned: Plan) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Trials", title_justify="left", box=None)
    axes = list(planned.config.grid)
    for name in ("trial", "rank", "alpha", "seed", *axes, "state"):
        table.add_column(name, justify="right" if name in ("rank", "alpha", "seed") else "left")
    todo = {trial.trial_id for trial in planned.todo}
    for trial in planned.trials:
        state = planned.ended.get(trial.trial_id, "")
        alpha = "" if trial.lora_alpha is None else f"{trial.lora_alpha:g}"
        values = [escape(str(trial.axes[axis])) for axis in axes]
        waits = f"to run{f' again ({state})' if state else ''}" if trial.trial_id in todo else state
        table.add_row(trial.trial_id, str(trial.rank), alpha, str(trial.seed), *values, waits)
    return table


def _worth_showing(config: SweepConfig) -> list[str]:
    """The sweep's own settings that shape its trials, and of the others those that somebody chose."""
    always = ("lora_r", "seeds", "lora_alpha_rule")
    chosen = [key for key, flag in FLAGS.items() if flag.recorded and key in config.sources and not flag.gathers]
    return list(dict.fromkeys([*always, *chosen]))


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _settings(planned: Plan) -> Any:
    from rich.markup import escape
    from rich.table import Table

    config = planned.config
    table = Table(title="Settings", title_justify="left", box=None)
    for name in ("setting", "value", "from"):
        table.add_column(name)
    own = {key: _shown(getattr(config, key)) for key in _worth_showing(config)}
    varied = differing([trial.settings for trial in planned.trials])
    values = {
        **own,
        **{key: value for key, value in config.settings.items() if key not in varied or key not in config.grid},
    }
    for key, value in values.items():
        table.add_row(
            key,
            escape(repr(value) if isinstance(value, str) and key not in own else str(value)),
            config.sources.get(key, "default"),
        )
    for key, axis in config.grid.items():
        table.add_row(f"grid {key}", escape(", ".join(map(str, axis))), config.sources.get(f"grid {key}", "default"))
    return table
