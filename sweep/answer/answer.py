"""The answer to "which rank?", as frozen dataclasses: every number that is printed, drawn or exported.

None means "not measured" or "cannot be determined". docs/answer-reference.md is generated from these docstrings.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sweep.common.column import Column, Place, is_shown
from sweep.store.columns import METRICS

# What a bound covers: the configuration under any seed, the models that were trained, or nothing beyond the rows.
Basis = Literal["seeds", "examples", "none"]
Verdict = Literal["within", "worse", "undecided"]
Value = str | int | float | bool | None
Edge = Literal["lowest", "highest"]  # of the values that could be tried


@dataclass(frozen=True)
class Comparison:
    """One configuration's loss compared with the best one's, as fractions of the lowest measured loss.

    Attributes:
        difference: how far above the lowest measured loss
        lower: how far above the best at least, whichever that is; null without a bound
        upper: how far above the best at most; null without a bound
        basis: what the bounds of this configuration cover
        seeds: how many were used
        examples: how many held-out examples were used, or clusters if the data name them
        verdict: within the margin, worse than it allows, or undecided; with basis `none`, as measured
        different: claimed to differ from the best under any seed; only with basis `seeds`
        models_different: the trained models differ beyond these held-out examples; only with basis `examples`
    """

    difference: float
    lower: float | None
    upper: float | None
    basis: Basis
    seeds: int
    examples: int
    verdict: Verdict
    different: bool
    models_different: bool


@dataclass(frozen=True)
class Configuration:
    """Trials that differ only in their seed, with means over the completed ones (for memory, the maximum).

    Attributes:
        label: short name: the rank, and whatever else distinguishes it
        method: `lora` or `full`
        lora_r: rank; null for full fine-tuning
        lora_alpha: alpha; null for full fine-tuning
        axes: values of the grid's other axes, by setting
        trials: ids of the completed trials
        seeds: their seeds
        loss: mean of the compared metric over the trials that are compared
        loss_sd: its standard deviation over seeds
        results: every metric by its column's name; NAME_sd is a standard deviation over seeds
        comparison: its loss compared with the others'; null if there is none to compare
        tuned: whether it has its rank's best value of the tuned setting; null if nothing was tuned
        tuning_loss: mean loss by which a rank's values are compared, over the seeds that all of them have; null without one
        cut_loss: held-out loss of the largest rank's trained adapter cut to this rank, averaged over the seeds that both have;
            null for the largest rank, and if it was not measured
        cut_from: the configuration whose adapter was cut
    """

    label: str
    method: str
    lora_r: int | None
    lora_alpha: float | None
    axes: Mapping[str, Value]
    trials: tuple[str, ...]
    seeds: tuple[int | None, ...]
    loss: float | None
    loss_sd: float | None
    results: Mapping[str, float | None]
    comparison: Comparison | None
    tuned: bool | None = None
    tuning_loss: float | None = None
    cut_loss: float | None = None
    cut_from: str | None = None

    def value(self, key: str) -> Value:
        """Its value of a setting that the grid varies or that was tuned; None if it has none."""
        return self.lora_alpha if key == "lora_alpha" else self.axes.get(key)

    def text(self, name: str) -> str:
        """A metric as text, with its spread or its bounds if there are any."""
        text = METRICS[name].text(self.results[name], self.results.get(f"{name}_sd"))
        ends = [end for end in (f"{name}_lower", f"{name}_upper") if self.results.get(end) is not None]
        return f"{text} ({' to '.join(METRICS[end].text(self.results[end]) for end in ends)})" if ends else text


@dataclass(frozen=True)
class Tuned:
    """The setting that was tuned for each rank.

    Attributes:
        key: the setting
        tried: how many configurations had a loss to choose from
        edges: chosen configurations whose value is at an end of the ladder, so that a better one may lie beyond
    """

    key: str
    tried: int
    edges: Mapping[str, Edge]


@dataclass(frozen=True)
class Saving:
    """What the pick costs less than another configuration: 0.1 is a tenth less, negative is more.

    Attributes:
        label: the other configuration
        role: the one with the lowest measured loss, or full fine-tuning
        memory: peak of a GPU's memory
        time: training time
        parameters: trainable ones
    """

    label: str
    role: Literal["best", "full"]
    memory: float | None
    time: float | None
    parameters: float | None


@dataclass(frozen=True)
class Suggestion:
    """What would settle an open question: either of the two, or both if the text says so.

    Attributes:
        configurations: those that need more
        seeds: about how many more of each; null: no reasonable number would do
        text: the same in words
        examples: about how many held-out examples in total; null: more would not help
        either: one of the two is enough
    """

    configurations: tuple[str, ...]
    seeds: int | None
    text: str
    examples: int | None = None
    either: bool = False


@dataclass(frozen=True)
class Recommendation:
    """The cheapest configuration that is good enough, and how certain that is.

    Attributes:
        label: the pick
        trial_id: its trial with the lowest compared loss
        best: the configuration with the lowest measured loss
        decided: the pick is shown to be within the margin as a configuration: basis `seeds`, and without doubts
        basis: what the pick's bounds cover
        tied: configurations shown to be within the margin of the pick, in either direction
        not_told_apart: neither shown to differ from the pick nor to be tied with it
        savings: compared with the best and with full fine-tuning
        suggestions: what would settle more
        text: the paragraph that is printed
    """

    label: str
    trial_id: str
    best: str
    decided: bool
    basis: Basis
    tied: tuple[str, ...]
    not_told_apart: tuple[str, ...]
    savings: tuple[Saving, ...]
    suggestions: tuple[Suggestion, ...]
    text: str


@dataclass(frozen=True)
class SetLosses:
    """Loss on a further held-out set (--eval_dataset_name): by configuration's label, a mean over seeds.

    Attributes:
        dataset: the set, as it was named
        examples: how many of its rows were scored
        before: of the model before training
        after: of the trained one
    """

    dataset: str
    examples: int
    before: Mapping[str, float]
    after: Mapping[str, float]


DifferenceKind = Literal["axis", "confound", "cost", "neutral"]


@dataclass(frozen=True)
class DifferenceInSettings:
    """Something besides rank and seed that is not the same in all compared trials.

    Attributes:
        name: what differs
        values: each value, with the labels of the configurations that have it
        kind: varied on purpose; may change the loss; may change time and memory only; measured to change nothing. `confound`
            and `cost` are printed as warnings
        text: the same as a sentence
    """

    name: str
    values: Mapping[str, tuple[str, ...]]
    kind: DifferenceKind
    text: str


@dataclass(frozen=True)
class Outcome:
    """A trial that is not compared, and why.

    Attributes:
        trial_id: the trial
        label: its configuration
        seed: its seed
        status: how it ended (columns.md), or `running` or `not started`
        reason: its error, or what the status means
    """

    trial_id: str
    label: str
    seed: int | None
    status: str
    reason: str


@dataclass(frozen=True)
class Front:
    """The configurations that no other one dominates (Pareto front).

    Attributes:
        metrics: what is traded off
        directions: which direction is better for each: `min` or `max`
        labels: the configurations
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Everything that a sweep has to say.

    Attributes:
        name: the sweep's name, or the file's; of several sweeps, their names separated by commas
        partial: true while trials run, wait or can be resumed
        metric: what is compared: `eval_loss`, `bits_per_byte` or `train_loss`; null if nothing can be compared, or if sweeps
            of different data compare different metrics
        confidence: the confidence at which each bound holds: 0.95
        margin: how far above the best a loss may be, as a fraction
        prefer: the costs, most important first: `memory`, `time`, `parameters`
        basis: the weakest of all pairs: `seeds` (claims about configurations), `examples` (about the trained models), `none`
        basis_text: the same in words
        statuses: number of trials by status; `running` and `not started` are derived
        configurations: what is compared
        recommendation: what to take; null if no completed trial has a loss, or if sweeps have different data
        fronts: which configurations are best at which cost
        differences: what differs besides rank and seed
        outcomes: trials that are not compared
        warnings: what to know before relying on the rest
        tuned: the setting that was tuned for each rank; null if none was
        provenance: versions, commit, fingerprints, as recorded
        recommendations: one for each set of sweeps with the same data if several sweeps have different data; otherwise empty
        sets: losses of the further held-out sets, in their order; empty without any
    """

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
    recommendations: tuple[Recommendation, ...] = ()
    sets: tuple[SetLosses, ...] = ()

    @property
    def picks(self) -> tuple[Recommendation, ...]:
        """Everything that is recommended."""
        return (self.recommendation,) if self.recommendation else self.recommendations

    @property
    def compared(self) -> tuple[Configuration, ...]:
        """All configurations or, if a setting was tuned, each rank at its best value."""
        return tuple(one for one in self.configurations if one.tuned is not False)

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for JSON; a configuration's results are merged with its other values."""
        plain = asdict(self)
        return {**plain, "configurations": [_with_results(one) for one in plain["configurations"]]}

    def metrics(self, place: Place) -> list[Column]:
        """The metrics that a place shows: those measured for any configuration, in their order."""
        measured = {name for name in METRICS if any(one.results[name] is not None for one in self.compared)}
        return [METRICS[name] for name in METRICS if name in measured and is_shown(METRICS[name], place, measured)]

    def configuration(self, label: str) -> Configuration:
        return next(one for one in self.configurations if one.label == label)


def _with_results(configuration: dict[str, Any]) -> dict[str, Any]:
    results, comparison = configuration.pop("results"), configuration.pop("comparison")
    return {**configuration, **results, "comparison": comparison}
