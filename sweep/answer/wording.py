"""The recommendation in words: one paragraph that a practitioner can act on, without claims that it later qualifies."""

from collections.abc import Sequence
from dataclasses import replace

from sweep.answer.answer import Configuration, Recommendation, Saving, Tuned
from sweep.answer.compare import Compared
from sweep.answer.groups import RATE, parsed, text_of
from sweep.common.formatting import listed, percent, plural, share
from sweep.statistics import stats
from sweep.store.columns import METRICS

NOT_COVERED = (
    "No bound covers other training data, trials that early stopping kept, or looking again and again until a certain "
    "rank passes."
)


def paragraph(
    draft: Recommendation, compared: Compared, configurations: Sequence[Configuration], pick: int, tuned: Tuned | None
) -> Recommendation:
    """The recommendation with its text."""
    sentences = [
        _pick(draft, compared, configurations, pick, tuned),
        *_distance(draft, compared, configurations, pick),
        *(_saving(one) for one in draft.savings),
        *_relations(draft, compared),
        *_doubt(draft, compared),
        *_seeds_compared(compared),
        *_open(draft, compared, configurations, pick),
        *_edge(draft, configurations, pick),
        *(_ladder(tuned) if tuned else ()),
        *_rate(compared, tuned),
    ]
    return replace(draft, text=" ".join(sentences))


def seeds_of(counts: Sequence[int], noun: str = "seed") -> str:
    """How many seeds configurations have: "3 seeds", or "1 to 3 seeds"."""
    least, most = min(counts), max(counts)
    return plural(least, noun) if least == most else f"{least} to {most} {noun}s"


def basis_text(compared: Compared, confidence: float, tuned: Tuned | None) -> str:
    """What the bounds cover, and what they leave out."""
    chosen = (
        f" They allow for the choice of each rank's {tuned.key} among {tuned.tried} configurations."
        if tuned and tuned.tried > len(compared.groups)
        else ""
    )
    level, held_out = share(confidence), compared.measured.examples
    count = seeds_of([len(compared.measured.by_seed(one)) for one in compared.groups])
    if held_out:
        clusters = " clusters of" if held_out.clusters else ""
        count += f", {held_out.count}{clusters} held-out examples"
    if compared.basis == "seeds":
        return (
            f"Bounds are over seeds and held-out examples ({count}), paired by seed; each holds at {level} for all "
            f"configurations together.{chosen}"
        )
    if compared.basis == "examples":
        return (
            f"Evaluation noise only ({count}): bounds hold at {level} for these trained models; training noise is unknown, "
            f"so nothing is claimed about the ranks. Claims begin at {stats.MIN_SEEDS} --seeds and usually succeed at 5 to 10.{chosen}"
        )
    return "No bounds: there is not enough to tell a difference from noise, so the measured losses and the margin alone decide."


# --- the pick --------------------------------------------------------------------------------------------------------


def _pick(
    draft: Recommendation, compared: Compared, configurations: Sequence[Configuration], pick: int, tuned: Tuned | None
) -> str:
    doubts = _doubts(compared, configurations, pick)
    but = f", but {listed(doubts)}" if doubts else ""
    if len(compared.groups) == 1:
        only = f"the best {tuned.key} of the only rank" if tuned else "the only configuration"
        return f"Take {draft.label}: it is {only} with a result{but}."
    within = f"within {share(compared.margin)} of the best"
    each = f"with each rank at its best {tuned.key}, " if tuned else ""
    if draft.decided:
        return f"Take {draft.label}: {each}it is the cheapest configuration shown to be {within}{but}."
    verdict = compared.verdict(pick)
    if draft.basis == "seeds" and verdict != "within":
        return (
            f"The data cannot tell which is good enough; {each}{draft.label} is the cheapest {within} as measured{but}."
        )
    if draft.basis == "examples" and verdict == "within":
        return f"Take {draft.label}: {each}it is of the models trained here the cheapest {within}{but}."
    return f"Take {draft.label}: {each}it is the cheapest {within} as measured{but}."


def _doubts(compared: Compared, configurations: Sequence[Configuration], pick: int) -> list[str]:
    """Reasons not to rely on the bounds of the pick."""
    rows = compared.groups[pick].rows
    endings = (
        (compared.diverged(pick), "diverged"),
        (compared.far_off(pick), "ended far from the others"),
        (sum(row["status"] == "oom" for row in rows), "ran out of memory"),
        (sum(row["status"] == "failed" for row in rows), "failed"),
    )
    doubts = [f"{count} of its {plural(len(rows), 'run')} {what}" for count, what in endings if count]
    if compared.basis == "seeds":
        others = "the other's" if len(configurations) == 2 else "the others'"
        doubts += [
            f"the losses of {configurations[index].label} spread {times:.0f} times as much over seeds as {others}, which the bounds are "
            "not designed for"
            for index, times in compared.uneven.items()
        ]
    return doubts


def _distance(
    draft: Recommendation, compared: Compared, configurations: Sequence[Configuration], pick: int
) -> list[str]:
    one = configurations[pick].comparison
    if one is None or len(configurations) == 1 or compared.measured.metric is None:
        return []
    column = METRICS[compared.measured.metric]
    label, value = column.label, column.text(compared.mean(pick))
    where = (
        f"Its {label} of {value} is the lowest measured"
        if draft.best == draft.label
        else f"Its {label} of {value} is {percent(one.difference)} from the lowest measured, {draft.best}"
    )
    if one.upper is None or compared.uneven:
        return [f"{where}."]
    models = draft.basis == "examples"
    if one.upper == 0:
        sure = "of these trained models none is better" if models else "at 95 % confidence no other is better"
        return [f"{where}; {sure}."]
    low = f"at least {percent(one.lower)} and " if one.lower else ""
    best = "the best of these trained models" if models else "the best, whichever that is"
    return [f"{where}; it is {low}at most {percent(one.upper)} above {best}."]


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


# --- the others ------------------------------------------------------------------------------------------------------


def _relations(draft: Recommendation, compared: Compared) -> list[str]:
    count = len(compared.groups) - 1
    models = ", as far as these models go" if draft.basis == "examples" else ""
    sentences = []
    if draft.tied:
        within = f"within {share(compared.margin)} either way"
        sentences.append(f"Tied with it, {within}{models}: {_among(draft.tied, count)}.")
    if draft.not_told_apart:
        sentences.append(f"Not told apart from it{models}: {_among(draft.not_told_apart, count)}.")
    return sentences


def _among(labels: Sequence[str], count: int) -> str:
    """The labels; "all others" if these are more than three and nothing else is left."""
    return "all others" if len(labels) == count > 3 else ", ".join(labels)


def _doubt(draft: Recommendation, compared: Compared) -> list[str]:
    """What is missing for a claim about the configurations."""
    if len(compared.groups) < 2 or draft.basis == "seeds":
        return []
    if draft.basis == "none":
        return [f"{_seeds(compared)}{_without(compared)}: no claim about noise is supported, the margin alone decides."]
    if compared.without_spread:
        labels = listed([compared.groups[index].label for index in sorted(compared.without_spread)])
        return [f"All seeds of {labels} gave the same loss: they say nothing about training noise."]
    fewest = f"{stats.MIN_SEEDS} or more seeds"
    return [f"Comparing the ranks takes {fewest}, since training noise has to be known; there {_are(compared)}."]


def _are(compared: Compared) -> str:
    text = _seeds(compared)
    return f"is {text[0].lower()}{text[1:]}" if text.startswith("One seed") else f"are {text}"


def _seeds(compared: Compared) -> str:
    counts = [len(compared.measured.by_seed(one)) for one in compared.groups]
    if max(counts) == 1:
        return "One seed"
    return seeds_of(counts) + (" of each" if min(counts) == max(counts) else "")


def _without(compared: Compared) -> str:
    held_out = compared.measured.examples
    if compared.measured.metric == "train_loss":
        return " without held-out loss"
    if held_out is None:
        return " without the loss of each held-out example"
    few = held_out.count < stats.MIN_EXAMPLES
    return f" with only {plural(held_out.count, 'held-out example')}" if few else ", but none that all have"


def _seeds_compared(compared: Compared) -> list[str]:
    """If not all have the same seeds: how the losses are compared."""
    seeds = [set(compared.measured.by_seed(one)) for one in compared.groups]
    if all(one == seeds[0] for one in seeds):
        return []
    if not compared.linked:
        return ["They do not all share seeds, so the losses compared are means over different seeds."]
    return [
        "Not all have the same seeds: losses are adjusted for that, by least squares over configurations and seeds."
    ]


def _open(draft: Recommendation, compared: Compared, configurations: Sequence[Configuration], pick: int) -> list[str]:
    sentences = []
    if draft.decided:
        others = [index for index in range(len(configurations)) if index != pick]
        few = [index for index in others if compared.basis_between(index, pick) != "seeds"]
        pending = [
            configurations[index].label
            for index in others
            if compared.verdict(index) == "undecided" and index not in few
        ]
        if few:
            labels = ", ".join(configurations[index].label for index in few)
            sentences.append(f"Far worse as measured, so left aside with fewer than {stats.MIN_SEEDS} seeds: {labels}.")
        if pending:
            sentences.append(f"Undecided, so left aside: {_among(pending, len(configurations) - 1)}.")
    if draft.suggestions:
        sentences.append(f"To settle more: {'; '.join(one.text for one in draft.suggestions)}.")
    return sentences


def _edge(draft: Recommendation, configurations: Sequence[Configuration], pick: int) -> list[str]:
    """If the best is at the edge of the grid, a larger rank may be better still."""
    ranks = {one.lora_r for one in configurations if one.lora_r is not None}
    if len(ranks) > 1 and draft.best == draft.label and configurations[pick].lora_r == max(ranks):
        return ["It is the largest rank tried: a larger one may do better still."]
    return []


# --- the learning rate, or whatever was tuned ------------------------------------------------------------------------


def _ladder(tuned: Tuned) -> list[str]:
    """Ranks whose best value is at an end of the ladder."""
    sentences = []
    for edge, end, beyond in (("highest", "upper", "higher"), ("lowest", "lower", "lower")):
        labels = [label for label, at in tuned.edges.items() if at == edge]
        if labels:
            verb = "is" if len(labels) == 1 else "are"
            sentences.append(
                f"{listed(labels)} {verb} at the {end} end of the ladder: a {beyond} {tuned.key} may do better still "
                "(--ladder)."
            )
    return sentences


def _rate(compared: Compared, tuned: Tuned | None) -> list[str]:
    """Which rank is right depends on the learning rate: if all used the same one, the text names it."""
    ranks = {(one.method, one.rows[0].get("lora_r")) for one in compared.groups}
    rates = {parsed(row, "settings").get(RATE) for one in compared.groups for row in one.completed}
    if len(ranks) < 2 or len(rates) > 1 or None in rates or (tuned and tuned.key == RATE):
        return []
    return [
        f"This holds at {RATE} {text_of(*rates)}, at which all were trained; --tune {RATE} compares each rank at its own best."
    ]
