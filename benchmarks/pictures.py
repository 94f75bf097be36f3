"""The pictures in docs/pictures, of a sweep that was run: the report's first screen, and the live table at a moment.

    python -m benchmarks.pictures [SWEEP] [--output docs/pictures]

SWEEP is results/demo unless another one is named. Needs Chromium and the extra `browser`.
"""

import argparse
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.browser import chromium
from sweep import analysis
from sweep.live.state import Devices, LiveSweep, LiveTrial
from sweep.live.table import table
from sweep.show.page import write_page
from sweep.store.loading import Sweep
from sweep.store.store import Row

REPORT, LIVE = "report.png", "live.svg"
SCREEN = {"width": 1400, "height": 900}  # pixels
WIDTH, HEIGHT = 100, 16  # characters
PATIENCE_MS = 60_000  # five megabytes of script on a busy machine
MOMENT = 0.55  # of the sweep: some trials have ended, some run, some wait


def report(sweep: Sweep) -> bytes:
    """The report's first screen, as PNG."""
    with tempfile.TemporaryDirectory(prefix="report-") as folder, chromium() as browser:
        place = write_page(sweep, analysis.answer(sweep), f"{folder}/report.html")
        page = browser.new_page(viewport=SCREEN, color_scheme="light")
        page.goto(Path(place).as_uri())
        page.wait_for_function("document.body.dataset.drawn === 'true'", timeout=PATIENCE_MS)
        picture: bytes = page.screenshot()
        return picture


def live(sweep: Sweep) -> str:
    """The live table as it stood at MOMENT, as SVG that loads nothing."""
    from rich.console import Console

    console = Console(record=True, file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True)
    console.print(table(*at(sweep, MOMENT), HEIGHT))
    console.print()  # the picture's last line is cut off
    svg = console.export_svg(title="python -m sweep.grid")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def at(sweep: Sweep, share: float) -> tuple[LiveSweep, float]:
    """A sweep as it stood when a share of its time had passed, and that time, from its rows."""
    rows = {row["trial_id"]: row for row in sweep.records()}
    times = [(row["started_at"].timestamp(), row["ended_at"].timestamp()) for row in rows.values()]
    began = min(start for start, _ in times)
    now = began + share * (max(end for _, end in times) - began)
    slots = max(sum(start <= moment < end for start, end in times) for moment, _ in times)
    trials = {one["trial_id"]: _trial(rows[one["trial_id"]], sweep, now) for one in sweep.config["trials"]}
    return LiveSweep(trials, began, devices=Devices("slots", slots, 1, slots)), now


def _trial(row: Row, sweep: Sweep, now: float) -> LiveTrial:
    """A trial that has said what it had said by then."""
    one = LiveTrial(str(row["lora_r"] or "full"), row["seed"])
    if row["started_at"].timestamp() > now:
        return one
    one.starts(row["started_at"].timestamp())
    steps = sweep.steps[sweep.steps.trial_id == row["trial_id"]].sort_values("step")
    for step, loss, memory, when in zip(steps.step, steps.loss, steps.peak_rss_bytes, steps.timestamp, strict=True):
        if when.timestamp() <= now:
            said = {"step": step, "loss": loss, "peak_rss_bytes": memory, "total_steps": row["steps"]}
            one.heard(said, when.timestamp())
    if row["ended_at"].timestamp() <= now:
        one.ends(row["status"], row["ended_at"].timestamp())
    return one


def main(arguments: Sequence[str] | None = None) -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("sweep", nargs="?", metavar="SWEEP", default="results/demo")
    flags.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    given = flags.parse_args(arguments)
    sweep = analysis.load(given.sweep)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / LIVE).write_text(live(sweep), encoding="utf-8")
    (given.output / REPORT).write_bytes(report(sweep))


if __name__ == "__main__":
    main()
