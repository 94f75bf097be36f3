"""Long curves made short enough to ship, without losing a peak; and smooth enough to compare."""

from collections.abc import Sequence

import numpy as np

from sweep.statistics.stats import Floats

LONGEST = 600  # points of a drawn curve: more than a phone has pixels
TOTAL = 24_000  # points of all drawn curves of a kind: keeps the page below 6 MB however many trials there are


def budget(curves: int) -> int:
    """Points that each of some curves may have."""
    return max(40, min(LONGEST, TOTAL // max(1, curves)))


def thin(values: Sequence[float] | Floats, points: int) -> list[int]:
    """Which of the values to draw: of each stretch its smallest and its largest, and both ends.

    Returns:
        Increasing indices, at most `points` + 2. NaN is never a smallest or largest.
    """
    array = np.asarray(values, dtype=float)
    if array.size <= points:
        return list(range(array.size))
    kept = {0, array.size - 1}
    for stretch in np.array_split(np.arange(array.size), max(1, points // 2)):
        known = stretch[~np.isnan(array[stretch])]
        if known.size:
            kept.add(int(known[np.argmin(array[known])]))
            kept.add(int(known[np.argmax(array[known])]))
    return sorted(kept)


def smooth(values: Floats, window: int) -> Floats:
    """Centred moving mean over `window` values, narrower towards the ends; NaN is left out of each mean.

    Args:
        values: shape (..., steps).
    """
    half = max(0, window // 2)
    known = ~np.isnan(values)
    sums = _padded(np.cumsum(np.where(known, values, 0.0), axis=-1))
    counts = _padded(np.cumsum(known, axis=-1).astype(float))
    places = np.arange(values.shape[-1])
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, values.shape[-1])
    total, count = sums[..., high] - sums[..., low], counts[..., high] - counts[..., low]
    means: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _padded(sums: Floats) -> Floats:
    return np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)


def window_for(steps: int) -> int:
    """Steps to smooth over: a fiftieth of the curve; of a short one nine, or a fifth of it."""
    return max(1, steps // 50, min(9, steps // 5))


def rounded(values: Sequence[float] | Floats, digits: int = 5) -> list[float | None]:
    """Values with that many significant digits, None for NaN and infinity: short as JSON."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=float)]
