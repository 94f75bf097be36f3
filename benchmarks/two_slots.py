"""The plain for loop over the demo's trials against our sweep in two slots of one thread each, both as whole commands.

    python -m benchmarks.two_slots [--lora_r 2 8 32] [--seeds 0 1] [--max_steps 60] [--repetitions 3]

The for loop uses one thread; for comparison, it is also measured once with two threads. About 9 minutes on two cores.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.common import median, show, spread
from benchmarks.sweep_overhead import arguments, loop_seconds, sweep_seconds

WANTED = 1.6


def measure(words: Sequence[str], repetitions: int) -> dict[str, Any]:
    loops: list[float] = []
    sweeps: list[float] = []
    for _ in range(repetitions):
        sweeps.append(sweep_seconds(words, 2)[0])
        loops.append(loop_seconds(words)[0])
    ratios = [loop / ours for ours, loop in zip(sweeps, loops, strict=True)]
    return {
        "seconds_sweep": median(sweeps),
        "seconds_loop": median(loops),
        "seconds_loop_of_two_threads": median([loop_seconds(words, threads=2)[0]]),
        "ratio": median(ratios),
        "ratio_range": spread(ratios),
        "wanted": {"ratio": WANTED},
    }


def main(argv: Sequence[str] | None = None) -> None:
    words, repetitions = arguments(argv, __doc__)
    show("two_slots", {"words": " ".join(words), **measure(words, repetitions)})


if __name__ == "__main__":
    main()
