"""`--tune`, `--ladder` and `--race`: the values to try of a setting, and checks of these flags."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sweep.config.coercion import Field, as_text, coerce, describe
from sweep.config.fields import RESERVED, nearest
from sweep.config.flags import Range
from sweep.config.sweep_config import FLAGS, SweepConfig
from sweep.errors import Complaint, ConfigError, Problem
from sweep.ladder import FULL_SHARE, LEARNING_RATE, LORA_START, Ladder, Ladders
from sweep.space import FULL, is_lora_setting

_NUMBERS = {"a number", "a whole number"}


def with_ladders(
    config: SweepConfig, known: Mapping[str, Field], ranges: Mapping[str, Range], problems: list[Problem]
) -> SweepConfig:
    """The configuration with the values to try, and every complaint about them.

    Args:
        known: the trainer's settings, by name.
        ranges: what their numbers may be.
    """
    found = [*_together(config), *_key(config, known)]
    problems += found
    if config.tune is None or found:
        return replace(config, tune=None)
    try:
        return replace(config, ladders=_ladders(config, known[config.tune], ranges.get(config.tune, Range())))
    except ConfigError as error:
        problems += error.complaints
        return replace(config, tune=None)


def _ladders(config: SweepConfig, field: Field, within: Range) -> Ladders:
    """The ladders, which begin at the user's or preset's value, otherwise at a published rule's, or at the default.

    Raises:
        ConfigError: a value cannot be used, or there is none.
    """
    values = _given(config.ladder, field)
    given = config.settings.get(field.name, LORA_START if field.name == LEARNING_RATE else field.default)
    start = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else 0.0
    share = FULL_SHARE if field.name == LEARNING_RATE else 1.0
    lora, full = (Ladder.of(one, values) for one in (start, start * share))
    if values:
        return Ladders(field.name, lora, full)
    return Ladders(field.name, _possible(lora, field, within), _possible(full, field, within))


def _given(ladder: Sequence[float], field: Field) -> tuple[float, ...]:
    """The user's values in the setting's type."""
    wrong = [value for value in ladder if _read(value, field) is None]
    if wrong:
        text = f": {', '.join(map(as_text, wrong))} cannot be used: --{field.name} takes {describe(field.hint)}."
        raise ConfigError([Complaint("ladder", text)])
    return tuple(coerce(value, field.hint) for value in ladder)


def _possible(ladder: Ladder, field: Field, within: Range) -> Ladder:
    """The ladder without values that the setting cannot have. (Values from the user are checked with the trials.)"""
    start = ladder.values[ladder.start]
    kept = [read for value in ladder.values if (read := _read(value, field)) is not None and read in within]
    return Ladder.of(start, kept or [start])


def _read(value: float, field: Field) -> float | None:
    """The value in the setting's type; None if it cannot be converted."""
    try:
        read = coerce(int(value) if float(value).is_integer() else value, field.hint)
    except ValueError:
        return None
    return read if isinstance(read, int | float) else None


def _together(config: SweepConfig) -> Iterator[Complaint]:
    """Flags that do not go together, or mean nothing without another."""
    if config.chooses and config.scheduler == "asha":
        asked = "--tune" if config.tune is not None else "--race"
        yield Complaint(
            "scheduler",
            f" asha with {asked}: it stops trials by a guess at an early step, and what was not trained to its end is not "
            "compared. Leave one of the two out.",
        )
    if config.tune is None and "ladder" in config.sources:
        yield Complaint("ladder", ": means nothing without --tune. Add --tune learning_rate, or leave it out.")
    if not config.race and "max_seeds" in config.sources:
        yield Complaint("max_seeds", ": means nothing without --race. Add it, or name the seeds with --seeds.")
    if not config.chooses and config.budget_gpu_hours is not None:
        yield Complaint("budget_gpu_hours", ": means nothing without --tune or --race: a grid trains every trial.")
    if config.tune is not None and config.ladder == () and "ladder" in config.sources:
        yield Complaint("ladder", f": no value is given. Name them, as in --ladder {FLAGS['ladder'].example}.")


def _key(config: SweepConfig, known: Mapping[str, Field]) -> Iterator[Complaint]:
    """What is wrong with the setting to be tuned."""
    key = config.tune
    if key is None:
        return
    if key in FLAGS or key in RESERVED:
        yield Complaint("tune", f": {key} cannot be tuned: name a setting of the trainer, such as learning_rate.")
    elif key not in known:
        yield Complaint("tune", f": unrecognized setting {as_text(key)}.{nearest(key, known)}")
    elif not set(describe(known[key].hint).split(" or ")) & _NUMBERS:
        yield Complaint("tune", f": {key} is {describe(known[key].hint)}, and only numbers have neighbors to try.")
    elif is_lora_setting(key) and FULL in config.lora_r:
        yield Complaint("tune", f": {key} means nothing to full fine-tuning. Leave full out of --lora_r.")
    elif key == "lora_alpha" and config.lora_alpha_rule == "proportional":
        yield Complaint(
            "tune", ": under --lora_alpha_rule proportional lora_alpha follows the rank. Use --lora_alpha_rule fixed."
        )
    if config.grid:
        axes = ", ".join(config.grid)
        yield Complaint(
            "tune", f": each rank is tuned once, and --grid {axes} makes several of each. Leave one of the two out."
        )
