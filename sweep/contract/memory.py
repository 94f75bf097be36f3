"""What a training step holds in device memory at its peak, in bytes, by purpose."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal["parameters", "gradients", "optimizer_state", "activations", "temporaries"]
Device = Literal["cuda", "cpu"]
KINDS: tuple[Kind, ...] = ("parameters", "gradients", "optimizer_state", "activations", "temporaries")
LINEAR = 2e-4  # relative tolerance: rounding up to allocation blocks bends a line by less


@dataclass(frozen=True)
class Memory:
    """Bytes alive at the moment of peak memory.

    Attributes:
        parameters: weights and buffers, frozen ones and adapters alike.
        gradients: of the trainable parameters, if they exist at that moment.
        optimizer_state: what the optimizer keeps between steps.
        activations: what the forward pass keeps for the backward pass.
        temporaries: everything else, gone by the end of the step.
    """

    parameters: int
    gradients: int
    optimizer_state: int
    activations: int
    temporaries: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Step:
    """Cost of one optimizer step: its peak memory, and the floating-point operations of its matrix products."""

    memory: Memory
    flops: int


def over_ranks(ranks: Sequence[int], simulate: Callable[[int], Step]) -> dict[int, Step]:
    """Every rank's step, from as few simulations as give the exact result.

    Each moment's bytes are linear in the rank, so their maximum over all moments is convex in it; and a convex function
    that meets a line at both ends of an interval and at a point inside is that line on the whole interval. So if three
    ranks lie on one line, it gives those between; otherwise every rank is simulated.
    """
    ordered = sorted(set(ranks))
    least, middle, most = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    known = {rank: simulate(rank) for rank in dict.fromkeys((least, middle, most))}
    if len(ordered) > 3:
        between = _between(known[least], known[most], (middle - least) / (most - least))
        exact = abs(between.memory.total - known[middle].memory.total) <= LINEAR * between.memory.total
        for rank in ordered:
            if rank not in known:
                share = (rank - least) / (most - least)
                known[rank] = _between(known[least], known[most], share) if exact else simulate(rank)
    return known


def _between(low: Step, high: Step, share: float) -> Step:
    def mixed(one: int, other: int) -> int:
        return round(one + share * (other - one))

    first, second = asdict(low.memory), asdict(high.memory)
    return Step(Memory(**{kind: mixed(first[kind], second[kind]) for kind in KINDS}), mixed(low.flops, high.flops))
