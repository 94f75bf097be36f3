"""docs/gallery.md, made of what benchmarks/data/gallery.json records."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gallery.rows import Row

ABOVE = """# Measured answers

Made by `python -m benchmarks.gallery` of `benchmarks/data/gallery.json`. Each row is a sweep that was run with the command
that stands further down, and what it answered.
"""
BITS = """## The same bits

`python -m benchmarks.gallery NAME --check` runs a row again and compares the losses of every step and every held-out example
of its trials with the recorded ones, bit for bit; without `--check` it records what it measured. On the machine that is named
with the rows, trials of the demo had the same bits in other sweeps, alone and two at a time, whatever else ran; one that was tried
with two threads (`--cpus_per_trial 2`) had them too. Another processor, or other versions of the libraries, may give other ones.
"""
BUSY = 0.5  # load average above which something else ran
BESIDE = " \\*"  # beside minutes that something else ran in
LIBRARIES = ("python", "torch", "transformers", "trl", "peft")
HEADINGS = ("sweep", "answer", "held-out loss", "minutes", "what it teaches")


def page(rows: Sequence[Row], recorded: Mapping[str, Any]) -> str:
    """The page: a line for each recorded row, then each with its command and its answer."""
    known = [(row, recorded[row.name]) for row in rows if row.name in recorded]
    cells = [HEADINGS, ["---"] * len(HEADINGS), *(_summary(row, found) for row, found in known)]
    note = f"{BESIDE.strip()} The machine had other work at the time.\n" if any(_busy(one) for _, one in known) else ""
    sections = [line for row, found in known for line in _section(row, found)]
    return "\n".join([ABOVE, *map(_line, cells), "", note, BITS, *sections]).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _summary(row: Row, found: Mapping[str, Any]) -> list[str]:
    losses = ", ".join(f"{label}: {_loss(loss)}" for label, loss in found["losses"].items())
    pick = f"{found['pick']}, {'decided' if found['decided'] else 'not decided'}"
    return [f"[{row.name}](#{row.name})", pick, losses, _minutes(found), row.teaches]


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.4f}"


def _minutes(found: Mapping[str, Any]) -> str:
    minutes = found["minutes"]
    return "–" if minutes is None else f"{minutes}{BESIDE if _busy(found) else ''}"


def _busy(found: Mapping[str, Any]) -> bool:
    return (found["load"] or 0.0) > BUSY


def _section(row: Row, found: Mapping[str, Any]) -> list[str]:
    """The command, where it ran, and the answer as `python -m sweep.analysis --format markdown` has it."""
    _, *answer = found["answer"]  # without its heading
    command = ["```bash", f"python -m sweep.grid {found['flags']}", "```"]
    return [f"## {row.name}", "", row.asks, "", *command, "", _place(found), *answer, ""]


def _place(found: Mapping[str, Any]) -> str:
    cpu, versions = found["machine"]["cpu"], found["machine"]["versions"]
    kind = ", ".join(f"{key} {cpu[key]}" for key in ("family", "model") if cpu.get(key))
    beside = " The machine had other work at the time: seconds and rates say little." if _busy(found) else ""
    libraries = ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions)
    return f"On {cpu['name']}{f' ({kind})' if kind else ''}, {cpu['cores']} cores, no GPU; {libraries}.{beside}"
