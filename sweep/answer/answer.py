"""The answer to "which rank?", as plain frozen data: every number that is printed, drawn or exported.

docs/answer.md documents each name. None means "not measured" or "cannot be said".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sweep.store.columns import METRICS, Column, Place, is_shown

# What a bound is about: the configuration under any seed, the models that were trained, or nothing beyond the rows.
Basis = Literal["seeds", "examples", "none"]
Verdict = Literal["within", "worse", "undecided"]
Value = str | int | float | bool | None
Edge = Literal["lowest", "highest"]  # of the values that could be tried


@dataclass(frozen=True)
class Comparison:
    """One configuration's compared loss against the best one's."""

    difference: float  # above the lowest measured loss, as a fraction of it
    lower: float | None  # at least this far above the best, whichever that is
    upper: float | None  # at most this far above it
    basis: Basis
    seeds: int
    examples: int
    verdict: Verdict
    different: bool  # claimed to differ from the best under any seed; needs basis "seeds"
    models_different: bool  # the trained models differ on the population of held-out examples; basis "examples"


@dataclass(frozen=True)
class Configuration:
    """Trials whose settings are equal but for the seed, and their means over the completed ones (memory: the largest)."""

    label: str
    method: str
    lora_r: int | None
    lora_alpha: float | None
    axes: Mapping[str, Value]
    trials: tuple[str, ...]
    seeds: tuple[int | None, ...]
    loss: float | None  # the compared metric
    loss_sd: float | None  # its standard deviation over seeds
    results: Mapping[str, float | None]  # every metric by its column's name; NAME_sd is a standard deviation over seeds
    comparison: Comparison | None
    tuned: bool | None = None  # whether it is its rank's best value of the tuned setting; None: nothing was tuned
    tuning_loss: float | None = None  # mean over the seeds that all values of its rank share
    cut_loss: float | None = None  # held-out loss of a larger rank's adapter cut to this one's, over the seeds of both
    cut_from: str | None = None  # the configuration whose adapter was cut

    def value(self, key: str) -> Value:
        """Its value of a setting that the grid varies or that was tuned; None where it has none."""
        return self.lora_alpha if key == "lora_alpha" else self.axes.get(key)

    def text(self, name: str) -> str:
        """A metric as a person reads it, with its spread where that is given."""
        return METRICS[name].text(self.results[name], self.results.get(f"{name}_sd"))


@dataclass(frozen=True)
class Tuned:
    """A setting of which each rank has its own best value."""

    key: str
    tried: int  # configurations that gave a loss to choose from
    edges: Mapping[
        str, Edge
    ]  # chosen configurations whose value is at an end of the ladder: a better one may lie beyond


@dataclass(frozen=True)
class Saving:
    """What the pick costs less than another configuration: 0.1 is a tenth less, negative is more."""

    label: str
    role: Literal["best", "full"]
    memory: float | None
    time: float | None
    parameters: float | None


@dataclass(frozen=True)
class Suggestion:
    """What more would settle something open: either of the two, or both where the text says so."""

    configurations: tuple[str, ...]
    seeds: int | None  # about so many more of each; None: no number within reason would do
    text: str
    examples: int | None = None  # about so many held-out examples in all; None: they are not what is missing
    either: bool = False  # one of the two is enough


@dataclass(frozen=True)
class Recommendation:
    """The cheapest configuration that is good enough, and how sure that is."""

    label: str
    trial_id: str  # its trial with the lowest compared loss
    best: str  # the configuration with the lowest measured loss
    decided: bool  # shown within the margin for the configuration; False: measured so, or for these models only
    basis: Basis
    tied: tuple[str, ...]  # shown to be within the margin of the pick, either way
    not_told_apart: tuple[str, ...]  # neither shown to differ from the pick nor to be tied with it
    savings: tuple[Saving, ...]
    suggestions: tuple[Suggestion, ...]
    text: str


# Varied on purpose; may change the loss; may change time and memory only; measured to change nothing.
DifferenceKind = Literal["axis", "confound", "cost", "neutral"]


@dataclass(frozen=True)
class DifferenceInSettings:
    """Something besides the rank and the seed that is not the same in all compared trials."""

    name: str
    values: Mapping[str, tuple[str, ...]]  # value as text → labels of the configurations that have it
    kind: DifferenceKind
    text: str


@dataclass(frozen=True)
class Outcome:
    """A trial that is not compared, and why."""

    trial_id: str
    label: str
    seed: int | None
    status: str
    reason: str


@dataclass(frozen=True)
class Front:
    """The configurations that no other beats in all of the metrics at once."""

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Everything that a sweep says."""

    name: str
    partial: bool
    metric: str | None
    confidence: float
    margin: float
    prefer: tuple[str, ...]
    basis: Basis
    basis_text: str
    statuses: Mapping[str, int]
    configurations: tuple[Configuration, ...]
    recommendation: Recommendation | None
    fronts: tuple[Front, ...]
    differences: tuple[DifferenceInSettings, ...]
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    tuned: Tuned | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    recommendations: tuple[
        Recommendation, ...
    ] = ()  # of sweeps on different data: one for each; then there is no single one

    @property
    def picks(self) -> tuple[Recommendation, ...]:
        """Everything that is recommended."""
        return (self.recommendation,) if self.recommendation else self.recommendations

    @property
    def compared(self) -> tuple[Configuration, ...]:
        """All configurations; where a setting was tuned, each rank at its best value."""
        return tuple(one for one in self.configurations if one.tuned is not False)

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for JSON; a configuration's results stand beside its other values."""
        plain = asdict(self)
        return {**plain, "configurations": [_with_results(one) for one in plain["configurations"]]}

    def metrics(self, place: Place) -> list[Column]:
        """The metrics that a place shows: those measured of any configuration, in their order."""
        measured = {name for name in METRICS if any(one.results[name] is not None for one in self.compared)}
        return [METRICS[name] for name in METRICS if name in measured and is_shown(METRICS[name], place, measured)]

    def configuration(self, label: str) -> Configuration:
        return next(one for one in self.configurations if one.label == label)


def _with_results(configuration: dict[str, Any]) -> dict[str, Any]:
    results, comparison = configuration.pop("results"), configuration.pop("comparison")
    return {**configuration, **results, "comparison": comparison}
