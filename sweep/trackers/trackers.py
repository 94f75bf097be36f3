"""Experiment trackers (`--report_to wandb tensorboard`), each in its own process.

    training thread ──a line of JSON per step──▶ file ──▶ sweep.trackers.tracker_process ──▶ W&B, TensorBoard

Writing a line takes 0.13 ms, a third of what wandb.log takes, and never blocks. Whatever a tracker does, hangs at or raises
happens in its own process, which has `HOLD_S` seconds to finish at the trial's end. See docs/trackers.md.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from sweep import redact
from sweep.common.formatting import reason
from sweep.store.store import Row

MANAGED = ("wandb", "tensorboard")  # the others run in the trainer, through its own integrations
HOLD_S = (
    30.0  # the longest that a tracker delays a trial's end: W&B's own two limits of 10 s, and falling back to offline
)
FINE = {"completed", "pruned"}
_NOT_METRICS = {"trial_id", "attempt", "step", "timestamp"}
# W&B's settings unless the user set them. Everything that a worker prints is in the trial's log already.
_WANDB = {
    "WANDB_PROJECT": "lora-rank-sweep",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB__DISABLE_META": "true",  # the trial's row says where it ran; W&B would add the user's name and folders
    "WANDB_INIT_TIMEOUT": "10",
    "WANDB_FINISH_TIMEOUT": "10",
}


@dataclass(frozen=True)
class Run:
    """A tracker's run: its id, the sweep it belongs to (`group`), and its kind ("trial", "summary")."""

    id: str
    group: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


def requested(report_to: object) -> list[str]:
    """The trackers that the setting `report_to` names."""
    names = report_to if isinstance(report_to, list) else [report_to]
    if "all" in names:
        from transformers.integrations import get_available_reporting_integrations

        return list(get_available_reporting_integrations())
    return [str(one) for one in names if one not in (None, "none")]


def managed(report_to: object) -> list[str]:
    """Those among the requested trackers that run in their own processes."""
    return [name for name in MANAGED if name in requested(report_to)]


def tracker_dir(folder: Path | None, sweep_name: str) -> Path:
    """Where trackers keep files: the sweep's folder or, if it is in an object store, one of its name in the working directory."""
    return folder or Path(sweep_name).absolute()


class Trackers:
    """The trackers of one attempt.

    Args:
        names: which ones, of MANAGED.
        earlier: step rows before the attempt's first one, so that a run has every step.
        place: folder for the files that they keep.
        scratch: folder for temporary files.
        log: file that their messages are appended to; standard error by default.
    """

    def __init__(
        self,
        names: Sequence[str],
        run: Run,
        earlier: Sequence[Row],
        place: Path,
        scratch: Path,
        log: Path | None = None,
    ) -> None:
        self._earlier, self._more = list(earlier), dict[int, Row]()
        self._log = log
        self._feeds = [_Feed(name, run, place, scratch / f"tracker-{name}", log) for name in names]

    def note(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds metrics to a step, under the trainer's names; sent with its row, so called before `log`."""
        if self._feeds:
            self._more.setdefault(step, {}).update(metrics)

    def log(self, row: Row) -> None:
        """Sends a step's row."""
        if self._feeds and row.get("step") is not None:
            self._catch_up()
            self._send(row)

    def _catch_up(self) -> None:
        earlier, self._earlier = self._earlier, []
        for row in earlier:
            self._send(row)

    def _send(self, row: Row) -> None:
        step = row["step"]
        metrics = {**named(self._more.pop(step, {})), **named(row), "train/global_step": step}
        self._write({"step": step, "metrics": metrics})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Sends a table."""
        self._write({"table": name, "columns": list(columns), "rows": [list(row) for row in rows]})

    def finish(self, summary: Row) -> float:
        """Ends the run with its summary, a trial's row; returns the seconds that this took, little more than HOLD_S at most."""
        if not self._feeds:
            return 0.0
        began = time.monotonic()
        self._catch_up()
        known = {key: value for key, value in redact.value(summary).items() if value is not None}
        self._write({"summary": known, "fine": summary.get("status", "completed") in FINE})
        for feed in self._feeds:
            feed.close(began + HOLD_S)
        return time.monotonic() - began

    def _write(self, line: Row) -> None:
        text = json.dumps(line, default=str) + "\n"
        for feed in self._feeds:
            feed.write(text)


class _Feed:
    """One tracker's process, and the file that it reads."""

    def __init__(self, name: str, run: Run, place: Path, scratch: Path, log: Path | None) -> None:
        self._name, self._scratch, self._log = name, scratch, log
        self._file: TextIO | None = None
        self._process: subprocess.Popen[bytes] | None = None  # None once there is nobody to write to
        about = {**vars(run), "config": redact.value(run.config), "place": str(place)}
        try:
            scratch.mkdir(parents=True)
            self._file = (scratch / "feed").open("w", encoding="utf-8", buffering=1)
            self._file.write(json.dumps(about, default=str) + "\n")
            self._process = self._start(run, place)
        except OSError as error:
            self._say(f"could not be started, so it records nothing of this run: {reason(error)}")
            self._remove()

    def _start(self, run: Run, place: Path) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-m",
            "sweep.trackers.tracker_process",
            self._name,
            str(self._scratch),
            str(os.getpid()),
        ]
        environment = _environment(run, place, self._scratch)
        out: Any = self._log.open("ab") if self._log else 2
        try:  # in its own session: Ctrl-C is for the driver, and the run is finished after it
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        finally:
            if self._log:
                out.close()

    def write(self, text: str) -> None:
        if self._process is not None and self._file is not None:
            try:
                self._file.write(text)
            except OSError as error:
                self._say(f"receives nothing more of this run: {reason(error)}")
                self._end(self._process)

    def close(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._say(
                f"did not finish within {HOLD_S:g} s and was killed; the trial's own files are complete without it."
            )
        self._end(self._process)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()  # W&B's service follows within two seconds
        process.wait()
        self._process = None
        self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # closing retries what it could not write
                self._file.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _say(self, text: str) -> None:
        line = f"{self._name} {text}"
        if self._log:
            with self._log.open("a") as file:
                file.write(line + "\n")
        else:
            print(line, file=sys.stderr)


def named(metrics: Mapping[str, Any]) -> Row:
    """Numbers under the names that the trainer's integrations give them: train/loss, eval/loss, train/peak_rss_bytes."""
    return {
        f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}": value
        for key, value in metrics.items()
        if isinstance(value, int | float) and key not in _NOT_METRICS
    }


def _environment(run: Run, place: Path, scratch: Path) -> dict[str, str]:
    """The process's environment. What the user set stays, except what would mix up runs."""
    known = {**_WANDB, "WANDB_RUN_GROUP": run.group, "WANDB_DIR": str(place), "WANDB__STATS_PID": str(os.getpid())}
    if not _has_key():
        known["WANDB_MODE"] = "offline"
    mine = {"TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = {**known, **os.environ, **mine}
    found.pop("WANDB_SERVICE", None)  # belongs to another process
    return found


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc(Path("~/.netrc").expanduser()).authenticators(host or "") is not None
    except (OSError, RuntimeError, NetrcParseError):
        return False
