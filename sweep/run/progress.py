"""What a person sees while a sweep runs, on stderr: a table on a terminal, elsewhere lines at intervals, or nothing."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from sweep.live.state import Devices, LiveSweep, LiveTrial, counted
from sweep.live.table import table
from sweep.live.terminal import redraws
from sweep.live.words import in_words, sentence, summary
from sweep.policies.policy import Wanted
from sweep.space import Trial

INTERVAL = 60.0  # seconds between lines of what runs
LASTS = 15.0  # seconds after which a phase is worth a line of its own
MOST = 8  # running trials that have a line each at intervals: of more, the sweep's own line says enough
REFRESHES_PER_S = 2.0  # of the table: of 64 trials, that takes 0.4 % of a core (benchmarks/live.py)

Shown = Literal["table", "lines", "nothing"]


class Progress:
    """Shows the runner's events. To be entered around a run."""

    def __init__(
        self,
        trials: Sequence[Trial],
        ended: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        chooses: bool = False,
        quiet: bool = False,
    ) -> None:
        """`chooses`: the trials are those that there may be; they are shown once they are wanted or begun."""
        self._may_be = {trial.trial_id: trial for trial in trials}
        self._chooses, self._told = chooses, 0
        self._clock = clock
        self._began = self._ticked = self._said = clock()
        self.sweep = LiveSweep(began=self._began)
        for trial in trials:
            if not chooses or trial.trial_id in ended:
                self._line_of(trial.trial_id).status = ended.get(trial.trial_id, "waiting")
        self._shows: Shown = "nothing" if quiet else "lines"
        self._live: Any = None
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._shows == "lines":
            self._open()
        return self

    def _open(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if redraws(console, os.environ):
            self._shows = "table"
            both = sys.stdout.isatty()  # then what is printed there goes above the table as well
            self._live = Live(
                get_renderable=self.table,
                console=console,
                refresh_per_second=REFRESHES_PER_S,
                redirect_stdout=both,
            )
            self._live.__enter__()
        else:
            count = f"at most {len(self._may_be)}" if self._chooses else len(self.sweep.trials)
            self._print(f"{count} trials; {self._counts() or 'none begun'}")
            self._ticker = threading.Thread(target=self._tick_on, name="progress", daemon=True)
            self._ticker.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()

    # --- what the runner tells -----------------------------------------------------------------------------------

    def runs_on(self, devices: Devices) -> None:
        self.sweep.devices = devices

    def started(self, trial_id: str) -> None:
        self._line_of(trial_id).starts(self._clock())
        self._say(f"{trial_id}: started")

    def phase(self, trial_id: str, phase: str, rows_left: int | None) -> None:
        self._line_of(trial_id).enters(phase, rows_left, self._clock())

    def row(self, trial_id: str, result: Mapping[str, Any]) -> None:
        self._line_of(trial_id).heard(result, self._clock())

    def ended(self, trial_id: str, status: str) -> None:
        line = self._line_of(trial_id)
        line.ends(status, self._clock())
        self._say(f"{trial_id}: {status}{f', {sentence(line)}' if line.step else ''}; {self._counts()}")

    def decided(self, wanted: Wanted) -> None:
        """Takes in what the policy decided, and says what is new of it."""
        new, self._told = wanted.decisions[self._told :], len(wanted.decisions)
        if self._chooses:
            self.sweep.at_most = wanted.at_most
            self.sweep.decisions = [one.text for one in wanted.decisions]
            for name in wanted.asked:
                self._line_of(name)
            for one in new:
                self._say(one.text)

    def _line_of(self, trial_id: str) -> LiveTrial:
        if trial_id not in self.sweep.trials:
            trial = self._may_be[trial_id]
            axes = {key: " ".join(str(value).split()) for key, value in trial.axis_columns().items()}
            self.sweep.trials[trial_id] = LiveTrial(str(trial.rank), trial.seed, axes)
        return self.sweep.trials[trial_id]

    # --- how it looks --------------------------------------------------------------------------------------------

    def table(self) -> Any:
        """What rich shows now."""
        return table(self.sweep, self._clock())

    def _tick_on(self) -> None:
        while not self._over.wait(1.0):
            self.tick()

    def tick(self) -> None:
        """Prints the lines that are due: of the sweep and what runs at intervals, and of a trial whose phase takes long."""
        now, before = self._clock(), self._ticked
        self._ticked = now
        running = {name: one for name, one in list(self.sweep.trials.items()) if one.running}
        if all_due := now - self._said >= INTERVAL:
            self._said = now
        for name, line in running.items():
            lasts = bool(line.doing) and before - line.phase_from < LASTS <= now - line.phase_from
            if (all_due and len(running) <= MOST) or lasts:
                self._say(f"{name}: {sentence(line)}")
        if all_due:
            self._say(", ".join(part for part in summary(self.sweep, now) if not part.startswith("elapsed")))

    def _say(self, text: str) -> None:
        if self._shows == "lines":
            self._print(f"[{self._clock() - self._began:5.0f} s] {text}")

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _counts(self) -> str:
        counts = in_words(counted(list(self.sweep.trials.values())))
        most = "" if self.sweep.at_most is None else f"at most {self.sweep.at_most}"
        return ", ".join(filter(None, [counts, most]))
