"""A tracker's process: reads what a trial measures from a file, passes it to the tracker, and ends soon after the trial.

python -m sweep.trackers.tracker_process wandb|tensorboard FOLDER PID
FOLDER holds the file `feed` and the tracker's temporary files; PID is the process that writes the feed.
"""

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

from sweep import redact
from sweep.common.formatting import with_class
from sweep.trackers.trackers import HOLD_S

Line = dict[str, Any]
POLL_S = 0.1  # between polls of a feed that has nothing new
_STAMP = r"\d{8}_\d{6}"


class Tracker(Protocol):
    """One run of a tracker."""

    def log(self, step: int, metrics: Line) -> None: ...
    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None: ...
    def finish(self, summary: Line, fine: bool) -> None: ...


class Wandb:
    """A run of Weights & Biases; kept on disk if there is no API key or the server does not answer."""

    def __init__(self, about: Line) -> None:
        try:
            import wandb

            # wandb reads WANDB_RUN_ID once per process; an argument always counts.
            self._run = wandb.init(
                id=about["id"],
                name=about["name"] or about["id"],
                job_type=about["kind"],
                config=about["config"],
                resume="allow",
            )
        except Exception as error:
            if os.environ.get("WANDB_MODE") == "offline":
                raise
            _again_offline(error)
        self._table = wandb.Table
        self._folder = Path(self._run.dir).parent
        if self._run.offline:
            print(f"W&B keeps this run in {self._folder}; upload it with `wandb sync`.", flush=True)

    def log(self, step: int, metrics: Line) -> None:
        self._run.log(metrics, step=step)

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        self._run.log({name: self._table(columns=columns, data=rows, allow_mixed_types=True)})

    def finish(self, summary: Line, fine: bool) -> None:
        self._run.summary.update(summary)
        self._run.finish(exit_code=0 if fine else 1)
        for file in (self._folder / "logs").glob("*.log"):  # W&B's own logs contain paths
            file.write_bytes(redact.in_place(file.read_bytes()))
        if self._run.offline:
            self._replace_earlier()

    def _replace_earlier(self) -> None:
        """Removes what earlier attempts left of this run: this one has all of their steps that count."""
        own = re.search(_STAMP, self._folder.name)
        for folder in self._folder.parent.iterdir():
            found = re.fullmatch(rf"(?:offline-)?run-({_STAMP})-{re.escape(self._run.id)}", folder.name)
            if found and own and folder != self._folder and found[1] <= own[0]:
                shutil.rmtree(folder, ignore_errors=True)


def _again_offline(error: Exception) -> NoReturn:
    """Restarts this process offline, to keep the run on disk: within the same service, W&B would consider its id in use."""
    print(f"W&B cannot be reached, so the run is kept on disk: {with_class(error)}", flush=True)
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    os.execve(
        sys.executable,
        [sys.executable, "-m", "sweep.trackers.tracker_process", *sys.argv[1:]],
        {**environment, "WANDB_MODE": "offline"},
    )


class TensorBoard:
    """An event file in a trial's own folder."""

    def __init__(self, about: Line) -> None:
        from tensorboardX import SummaryWriter

        given = os.environ.get("TENSORBOARD_LOGGING_DIR") or Path(about["place"], "tensorboard")
        folder = Path(given).expanduser() / about["id"]
        self._earlier = list(folder.glob("events.out.tfevents.*"))
        # Readers discard this step and later ones from earlier attempts' files: this one has all that count.
        self._writer = SummaryWriter(str(folder), purge_step=1 if self._earlier else None)
        self._writer.add_text("settings", _markdown(about["config"]))

    def log(self, step: int, metrics: Line) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        raise NotImplementedError("tables are for W&B only")

    def finish(self, summary: Line, fine: bool) -> None:
        self._writer.add_text("trial", _markdown(summary))
        self._writer.close()
        for file in self._earlier:
            file.unlink(missing_ok=True)


def _markdown(values: Line) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])


def lines(file: Path, writer: int, pause: float = POLL_S) -> Iterator[Line]:
    """A feed's lines as they arrive, until the summary, or until the process that writes them is gone."""
    with file.open(encoding="utf-8") as feed:
        rest = ""
        while True:
            alive = os.getppid() == writer
            *whole, rest = (rest + feed.read()).split("\n")
            for text in whole:
                line = json.loads(text)
                yield line
                if "summary" in line:
                    return
            if not whole:
                if not alive:
                    return
                time.sleep(pause)


def follow(feed: Iterator[Line], tracker: Tracker) -> None:
    """Passes a feed to a tracker."""
    ending: Line = {"summary": {}, "fine": False}
    for line in feed:
        if "summary" in line:
            ending = line
        elif "table" in line:
            tracker.table(line["table"], line["columns"], line["rows"])
        else:
            tracker.log(line["step"], line["metrics"])
    tracker.finish(**ending)


def _end_in_time(feed: Iterator[Line], folder: str) -> Iterator[Line]:
    """The same lines; after the last one, starts a timer that ends this process if it hangs: nobody else may be left to."""
    yield from feed

    def end() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    timer = threading.Timer(HOLD_S, end)
    timer.daemon = True
    timer.start()


def main(name: str, folder: str, writer: str) -> int:
    """Follows a feed; returns the exit code."""
    kinds: dict[str, type[Wandb] | type[TensorBoard]] = {"wandb": Wandb, "tensorboard": TensorBoard}
    feed = _end_in_time(lines(Path(folder, "feed"), int(writer)), folder)
    try:
        follow(feed, kinds[name](next(feed)))
    except Exception as error:
        print(f"{name} failed, and receives nothing more of this run: {with_class(error)}", flush=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main(*sys.argv[1:]))  # a tracker's own handlers at exit may wait for its server
