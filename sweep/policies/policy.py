"""What a policy receives and yields, and how it is replayed on the existing rows."""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sweep.space import Rank, Trial

Kind = Literal["value", "best", "out", "shrunk", "look", "left", "done"]

NO_ROOM = frozenset({"oom", "rejected"})  # needs more memory than there is: noticed during training, or predicted
ENDED = frozenset({"completed", "pruned", "diverged", "failed"}) | NO_ROOM


@dataclass(frozen=True)
class Result:
    """The part of a trial's row that policies use.

    Attributes:
        status: as in trials/; the trial has ended if it is one of ENDED.
        loss: the compared loss, if it completed.
        gpu_hours: what it took, however it ended.
        shrunk: whether it was trained with a smaller micro-batch than its settings say.
        shrinkable: whether it ran out of memory and could be trained with a smaller micro-batch.
    """

    trial_id: str
    status: str
    loss: float | None = None
    gpu_hours: float = 0.0
    shrunk: bool = False
    shrinkable: bool = False

    @property
    def comparable(self) -> float:
        """The loss, or infinity if it ended without one that can be compared."""
        usable = self.status == "completed" and self.loss is not None and math.isfinite(self.loss) and self.loss > 0
        return self.loss if usable and self.loss is not None else math.inf


@dataclass(frozen=True)
class Request:
    """A trial to train, with half the micro-batch if it is to be shrunk."""

    trial: Trial
    shrink: bool = False


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        kind: a value to try; a rank's best value; a rank that is out; a trial that was shrunk; a look at the race; a
            configuration that left the race; the end.
        rank: the rank concerned; None if all are.
        value: the tuned setting's value concerned.
        numbers: what the decision was based on; JSON values only.
    """

    kind: Kind
    text: str
    rank: Rank | None = None
    value: float | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A policy's question: how did these trials end?

    Attributes:
        likely: trials that it may ask about next.
        after: how many more trials it may ask about after these, at most.
    """

    trials: tuple[Trial, ...]
    likely: tuple[Trial, ...] = ()
    after: int = 0


@dataclass(frozen=True)
class Done:
    """The end of a policy's steps."""

    why: str


Results = Mapping[str, Result]
Step = Question | Decision | Done


class Policy(Protocol):
    """`steps` yields questions and decisions, and finally Done; only a question is sent an answer."""

    def steps(self) -> Generator[Step, Results | None, None]: ...


@dataclass(frozen=True)
class Wanted:
    """What a policy wants, as sweep.policies describes it; `asked` has the ids of all trials requested so far."""

    asked: tuple[str, ...]
    trials: tuple[Request, ...]
    likely: tuple[Request, ...]
    done: bool
    why: str
    at_most: int
    decisions: tuple[Decision, ...]


def ask(
    trials: Sequence[Trial], likely: Iterable[Trial] = (), after: int = 0
) -> Generator[Step, Results | None, Results]:
    """For use in `steps`: the trials' results, by id, once all have ended."""
    found = yield Question(tuple(trials), tuple(likely), after)
    assert found is not None, "a question is answered"
    for trial in trials:
        if found[trial.trial_id].shrunk:
            text = f"{trial.trial_id} ran out of memory: trained again with half the micro-batch, accumulated twice"
            yield Decision("shrunk", text, trial.rank, None, {"trial_id": trial.trial_id})
    return found


def decide(
    policy: Policy, known: Iterable[Result], *, shrink: bool = False, budget_gpu_hours: float | None = None
) -> Wanted:
    """What the policy wants, given all existing rows.

    Args:
        shrink: whether a trial that ran out of memory is trained again with a smaller micro-batch.
        budget_gpu_hours: once this many are spent, nothing more is requested.
    """
    rows = {one.trial_id: one for one in known}
    steps, answer = policy.steps(), None
    decisions: list[Decision] = []
    asked: dict[str, None] = {}
    while True:
        step = steps.send(answer)
        answer = None
        if isinstance(step, Decision):
            decisions.append(step)
        elif isinstance(step, Done):
            return _done(step.why, decisions, asked)
        else:
            asked.update((trial.trial_id, None) for trial in step.trials)
            open_ones = _requests(step.trials, rows, shrink)
            if not open_ones:
                answer = _answer(step.trials, rows)
                continue
            spent = sum(one.gpu_hours for one in rows.values())
            if budget_gpu_hours is not None and spent >= budget_gpu_hours:
                return _done(f"{spent:.2f} of {budget_gpu_hours:g} GPU-hours are spent", decisions, asked)
            return _waiting(step, open_ones, _requests(step.likely, rows, shrink), decisions, asked)


def _answer(trials: Iterable[Trial], rows: Results) -> Results:
    """Only what was asked about: a trial that was started early is not seen before it is requested."""
    return {trial.trial_id: rows[trial.trial_id] for trial in trials}


def _requests(trials: Iterable[Trial], rows: Results, shrink: bool) -> list[Request]:
    """Those of the trials that have not ended or are to be shrunk, without duplicates."""
    found = {}
    for trial in trials:
        row = rows.get(trial.trial_id)
        again = shrink and row is not None and row.status in NO_ROOM and row.shrinkable and not row.shrunk
        if row is None or row.status not in ENDED or again:
            found[trial.trial_id] = Request(trial, again)
    return list(found.values())


def _done(why: str, decisions: Sequence[Decision], asked: Iterable[str]) -> Wanted:
    names = tuple(asked)
    return Wanted(names, (), (), True, why, len(names), (*decisions, Decision("done", why)))


def _waiting(
    step: Question,
    open_ones: Sequence[Request],
    likely: Iterable[Request],
    decisions: Sequence[Decision],
    asked: Iterable[str],
) -> Wanted:
    names = {one.trial.trial_id for one in open_ones}
    others = tuple(one for one in likely if one.trial.trial_id not in names)
    why = f"waits for {', '.join(names)}" if len(names) == 1 else f"waits for {len(names)} trials"
    so_far = tuple(asked)
    return Wanted(so_far, tuple(open_ones), others, False, why, len(so_far) + step.after, tuple(decisions))
