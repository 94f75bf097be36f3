"""Text for people: lists and plurals, bytes, durations, shares, and errors on one line."""

import re
from collections.abc import Sequence

NOTHING = "–"  # where a number was not measured
_SHOWN = 5  # of a list that may be long


# --- words -----------------------------------------------------------------------------------------------------------


def listed(parts: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def first_few(parts: Sequence[str]) -> str:
    """a, b, c; for a long list, the first few and the total count."""
    more = f" and {len(parts) - _SHOWN} more, {len(parts)} in all" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more


def plural(count: int, noun: str) -> str:
    """1 seed, 2 seeds."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def capitalized(text: str) -> str:
    """The text as a sentence begins; unlike str.capitalize it leaves "GPU" as it is."""
    return text[:1].upper() + text[1:]


# --- numbers ---------------------------------------------------------------------------------------------------------


def size(count: float) -> str:
    """Bytes in powers of 1000, as torch.cuda's reports and disks have them: 3.10 GB, 1.5 MB, 12 B."""
    for factor, unit, digits in ((1, "B", 0), (1e3, "kB", 0), (1e6, "MB", 1), (1e9, "GB", 2), (1e12, "TB", 2)):
        text = f"{count / factor:.{digits}f} {unit}"
        if round(count / factor, digits) < 1000:
            break
    return text


def duration(seconds: float) -> str:
    """How long something took: seconds, or minutes or hours where there are some."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h"


def clock(seconds: float) -> str:
    """A running time as a stopwatch shows it: 0:05, 2:05, 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(fraction: float) -> str:
    """A signed share, with as many digits as its size leaves useful: +0.015 %, −0.67 %, +34 %."""
    size = abs(fraction) * 100
    digits = 0 if size >= 10 else 1 if size >= 1 else 2 if size >= 0.1 or size == 0 else 3
    return f"{fraction * 100:+.{digits}f} %".replace("-", "−")


def share(fraction: float) -> str:
    """An unsigned share with all its digits: 0.5 %, 95 %."""
    return f"{fraction * 100:.6g} %"


def number(value: float | None, unit: str = "", *, whole: bool = False) -> str:
    """A value in its unit as docs/columns.md names it, or a count; a dash where it was not measured."""
    if value is None:
        return NOTHING
    if unit == "bytes":
        return size(value)
    if unit == "s":
        return duration(value)
    if unit == "relative":
        return percent(value)
    if unit == "share":
        return f"{value * 100:.1f} %"
    if unit == "1/s":
        return f"{value:.3f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,.0f}" if whole else f"{value:.4f}"


def with_spread(value: float | None, deviation: float | None, unit: str = "", *, whole: bool = False) -> str:
    """A mean, with its standard deviation where there is one: 2.8748 ± 0.0043."""
    found = number(value, unit, whole=whole)
    return found if value is None or deviation is None else f"{found} ± {number(deviation, unit, whole=whole)}"


# --- errors ----------------------------------------------------------------------------------------------------------


def reason(error: BaseException) -> str:
    """An error's message on one line, without errno, path or trailing period."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return in_one_line(text) or type(error).__name__


def headline(error: BaseException) -> str:
    """The first line of an error's multi-line message."""
    return in_one_line(str(error).strip().partition("\n")[0]) or type(error).__name__


def with_class(error: BaseException) -> str:
    """`reason` with the error's class in front, so that it can be looked up: ValueError: it is negative."""
    text = reason(error)
    kind = type(error).__name__
    return kind if text == kind else f"{kind}: {text}"


def in_one_line(text: str) -> str:
    """An error's text on one line, without errno or trailing period."""
    text = re.sub(r"^google::cloud::Status\(\w+: (?:Retry policy exhausted, with a last message of )?", "", text)
    text = re.sub(r" error_info=\{reason=.*", "", text, flags=re.DOTALL)  # Google's client: pages of retry metadata
    text = re.sub(r".*PerformWork\(\) - CURL error \[\d+\]=", "", text, flags=re.DOTALL)
    return re.sub(r"(Detail: )?\[[Ee]rrno -?\d+\] ", "", " ".join(text.split())).rstrip(".")


def sentence(message: str | BaseException, longest: int = 400) -> str:
    """A text, or an error's whole message, on one line, truncated to `longest` characters, with one period at the end."""
    line = " ".join((str(message) or type(message).__name__).split())
    return (line if len(line) <= longest else line[: longest - 1] + "…").rstrip(".") + "."
