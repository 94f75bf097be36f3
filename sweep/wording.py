"""The recommendation in words: one paragraph that a practitioner can act on."""

from collections.abc import Sequence
from dataclasses import replace

from sweep import stats
from sweep.answer import Basis, Configuration, Recommendation, Saving
from sweep.compare import Compared
from sweep.metrics import METRICS, number, percent


def paragraph(draft: Recommendation, compared: Compared, shown: Sequence[Configuration], pick: int) -> Recommendation:
    """The recommendation with its text."""
    sentences = [
        _pick(draft, compared, shown[pick]),
        *_distance(draft, compared, shown, pick),
        *(_saving(one) for one in draft.savings),
        *_relations(draft, compared),
        *_doubt(compared),
        *_open(draft, compared, shown),
        *_edge(draft, shown, pick),
    ]
    return replace(draft, text=" ".join(sentences))


def share(margin: float) -> str:
    """A margin without a sign: 0.5 %."""
    return f"{margin * 100:.6g} %"


def basis_text(basis: Basis, seeds: int, examples: int, confidence: float) -> str:
    """What the bounds are about, and what they leave out."""
    level = f"{confidence * 100:g} %"
    if basis == "seeds":
        over = "seeds and held-out examples" if examples else "seeds"
        count = f"{seeds} seeds" + (f", {examples} held-out examples" if examples else "")
        return (
            f"Bounds are over {over} ({count}), paired by seed; each holds at {level} for all configurations together."
        )
    if basis == "examples":
        return (
            f"Evaluation noise only ({seeds} seed{'' if seeds == 1 else 's'}, {examples} held-out examples): bounds hold at "
            f"{level} for these trained models; training noise is unknown, so nothing is claimed about the ranks. "
            f"Add --seeds: {stats.MIN_SEEDS} or more."
        )
    return "No bounds: there is too little to tell noise from difference, so the measured losses and the margin decide alone."


def _pick(draft: Recommendation, compared: Compared, pick: Configuration) -> str:
    if len(compared.groups) == 1:
        return f"Take {draft.label}: it is the only configuration with a result."
    if draft.decided:
        return f"Take {draft.label}: it is the cheapest configuration shown to be within {share(compared.margin)} of the best."
    within = f"the cheapest within {share(compared.margin)} of the best"
    if draft.basis == "seeds":
        return f"The data cannot tell which is good enough; {draft.label} is {within} as measured."
    if draft.basis == "examples" and pick.comparison and pick.comparison.verdict == "within":
        return f"Take {draft.label}: it is {within} for the models trained here."
    return f"Take {draft.label}: it is {within} as measured."


def _distance(draft: Recommendation, compared: Compared, shown: Sequence[Configuration], pick: int) -> list[str]:
    one = shown[pick].comparison
    if one is None or len(shown) == 1 or compared.measured.metric is None:
        return []
    label = METRICS[compared.measured.metric].label
    value = number(compared.measured.metric, shown[pick].loss)
    where = (
        f"Its {label} of {value} is the lowest measured"
        if draft.best == draft.label
        else f"Its {label} of {value} is {percent(one.difference)} from the lowest measured, {draft.best}"
    )
    if one.upper is None:
        return [f"{where}."]
    if one.upper == 0:
        return [f"{where}; at {stats.CONFIDENCE * 100:g} % confidence no other is better."]
    low = f"at least {percent(one.lower)} and " if one.lower else ""
    return [f"{where}; it is {low}at most {percent(one.upper)} above the best, whichever that is."]


def _saving(saving: Saving) -> str:
    named = (("memory", saving.memory), ("training time", saving.time), ("trainable parameters", saving.parameters))
    parts = [
        f"{_amount(value)} {'less' if value > 0 else 'more'} {name}"
        for name, value in named
        if value is not None and abs(value) >= 0.0005
    ]
    against = saving.label if saving.role == "best" else "full fine-tuning" + saving.label.removeprefix("full")
    return f"Against {against} it takes {listed(parts) if parts else 'about the same'}."


def _amount(value: float) -> str:
    if 0.9995 <= value < 1:
        return "over 99.9 %"
    return f"{abs(value) * 100:.{0 if 0.1 <= abs(value) < 0.99 else 1}f} %"


def _relations(draft: Recommendation, compared: Compared) -> list[str]:
    count = len(compared.groups) - 1
    sentences = []
    if draft.tied:
        sentences.append(f"Tied with it, within {share(compared.margin)} either way: {_among(draft.tied, count)}.")
    if draft.not_told_apart:
        sentences.append(f"Not told apart from it: {_among(draft.not_told_apart, count)}.")
    return sentences


def _among(labels: Sequence[str], count: int) -> str:
    """The labels, or in short where they are all others and many."""
    return "all others" if len(labels) == count > 3 else ", ".join(labels)


def _doubt(compared: Compared) -> list[str]:
    if len(compared.groups) < 2 or compared.basis == "seeds":
        return []
    seeds = max(len(compared.measured.by_seed(one)) for one in compared.groups)
    many = "One seed" if seeds == 1 else f"{seeds} seeds"
    if compared.basis == "examples":
        return [
            f"{many} of each: only evaluation noise is known, training noise is not, so this says nothing sure of the ranks."
        ]
    without = " without held-out loss" if compared.measured.metric == "train_loss" else ""
    return [f"{many}{without}: no claim about noise is supported, the margin alone decides."]


def _open(draft: Recommendation, compared: Compared, shown: Sequence[Configuration]) -> list[str]:
    others = [one.label for index, one in enumerate(shown) if compared.verdict(index) == "undecided"]
    pending = [label for label in others if label != draft.label]
    sentences = []
    if pending and draft.decided:
        sentences.append(f"Undecided, so left aside: {_among(pending, len(shown) - 1)}.")
    if draft.suggestions:
        sentences.append(f"To settle more: {'; '.join(one.text for one in draft.suggestions)}.")
    return sentences


def _edge(draft: Recommendation, shown: Sequence[Configuration], pick: int) -> list[str]:
    """Where the best lies at the grid's edge, what is beyond is not known."""
    ranks = {one.lora_r for one in shown if one.lora_r is not None}
    if len(ranks) > 1 and draft.best == draft.label and shown[pick].lora_r == max(ranks):
        return ["It is the largest rank tried: a larger one may do better still."]
    return []


def listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
