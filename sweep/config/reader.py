"""Reads layers of raw settings, later ones overriding earlier ones: converts each value to its setting's type, and replaces
axes as a whole."""

from collections.abc import Mapping
from typing import Any

from sweep import redact
from sweep.config import command_line
from sweep.config.coercion import Field, as_text, takes_truth
from sweep.config.fields import LAUNCHER, RESERVED, nearest
from sweep.config.sweep_config import FLAGS
from sweep.errors import Complaint, Problem

_AXIS_FLAGS = ("lora_r", "seed", "seeds")


class Reader:
    """What has been read: `own`, the sweep's settings; `settings`, the trainer's; and the source of each.

    Args:
        known: the trainer's settings, by name.
        problems: collects what is wrong.
    """

    def __init__(self, known: Mapping[str, Field], problems: list[Problem]) -> None:
        self.problems = problems
        self.known = known
        self.own: dict[str, Any] = {name: flag.default for name, flag in FLAGS.items()}
        self.settings: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def layer(self, source: str, raw: Mapping[str, Any]) -> None:
        for key, value in raw.items():
            if key == "grid":
                self._grid(source, value)
            elif key in FLAGS:
                self._own(source, key, value)
            else:
                self._setting(source, key, value)

    def _own(self, source: str, key: str, value: Any) -> None:
        try:
            self.own[key] = FLAGS[key].read(value)
            self.sources[key] = source
        except ValueError as error:
            self._unlike(source, key, value, str(error))

    def _setting(self, source: str, key: str, value: Any) -> None:
        negated = key.removeprefix("no_")
        known = self.known
        if value is True and key not in known and negated in known and takes_truth(known[negated].hint):
            key, value = negated, False
        if key in RESERVED:
            self._wrong(source, key, f"cannot be set here: {RESERVED[key]}.")
        elif key not in known and key in LAUNCHER:
            why, usual = LAUNCHER[key]
            if str(value).lower() not in {"none", str(usual).lower()}:
                self._wrong(source, key, f"cannot be set here: {why}.")
        elif key not in known:
            self._wrong(source, key, f"unrecognized setting.{nearest(key, [*known, *FLAGS])}")
        else:
            self.sources[key] = source  # even if the value is wrong: the complaint is about this one
            try:
                self.settings[key] = known[key].read(value)
            except ValueError as error:
                self._unlike(source, key, value, str(error))

    def _grid(self, source: str, value: Any) -> None:
        axes = command_line.axes(value, self.problems) if source == "flag" else value
        if not isinstance(axes, dict):
            self._unlike(source, "grid", value, "a mapping of lists, as in {learning_rate: [1e-4, 2e-4]}")
            return
        grid = dict(self.own["grid"])
        for key, values in axes.items():
            checked = self._axis(source, str(key), values)
            if checked is not None:
                grid[key] = checked
                self.sources[f"grid {key}"] = source
        self.own["grid"] = grid

    def _axis(self, source: str, key: str, values: Any) -> tuple[Any, ...] | None:
        name, known = f"grid {key}", self.known
        if key in _AXIS_FLAGS:
            self._wrong(source, name, "ranks and seeds have flags of their own: --lora_r, --seeds.")
        elif key in RESERVED or key not in known:
            why = RESERVED.get(key, f"it is not a known setting.{nearest(key, known)}")
            self._wrong(source, name, f"cannot be an axis: {why if why.endswith(('.', '?')) else f'{why}.'}")
        elif redact.is_secret(key):
            self._wrong(source, name, "cannot be an axis: it is a secret, which results do not hold.")
        elif not isinstance(values, list):
            self._unlike(source, name, values, "a list of values")
        elif not values:
            self._wrong(source, name, f"the axis is empty. Give at least one value, as in --grid {key}=V1,V2.")
        else:
            return self._axis_values(source, name, values, known[key])
        return None

    def _axis_values(self, source: str, name: str, values: list[Any], field: Field) -> tuple[Any, ...] | None:
        try:
            coerced = [field.read(value) for value in values]
        except ValueError as error:
            self._wrong(source, name, f"expected {error} for each value, got {', '.join(map(as_text, values))}.")
            return None
        twice = [value for i, value in enumerate(coerced) if value in coerced[:i]]
        if twice:
            self._wrong(source, name, f"{as_text(twice[0])} appears twice. Name each value once.")
            return None
        return tuple(coerced)

    def _unlike(self, source: str, key: str, value: Any, expected: str) -> None:
        got = "no value" if source == "flag" and value is True else as_text(value)
        self._wrong(source, key, f"expected {expected}, got {got}.")

    def _wrong(self, source: str, key: str, text: str) -> None:
        self.problems.append(Complaint(key, f": {text}", source))
