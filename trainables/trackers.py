"""Experiment trackers that watch a trial through the trainer's own integrations (`--report_to`)."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path

from trainables.context import Context


def set_up(context: Context, report_to: object) -> None:
    """Sets the environment that trackers read. What the user set stays."""
    names = set(report_to) if isinstance(report_to, list) else {report_to}
    wanted: dict[str, str] = {}
    if names & {"wandb", "all"}:
        wanted |= _wandb(context)
    if names & {"tensorboard", "all"}:
        wanted["TENSORBOARD_LOGGING_DIR"] = str(_folder(context) / "tensorboard" / context.trial_id)
    os.environ.update({key: value for key, value in wanted.items() if key not in os.environ})


def _wandb(context: Context) -> dict[str, str]:
    """Runs grouped by sweep, run id = trial id, so that a retry goes on with its run; kept on disk where there is no key."""
    if _has_key() or "WANDB_MODE" in os.environ:
        place = {}
    else:
        folder = _folder(context)
        folder.mkdir(parents=True, exist_ok=True)
        place = {"WANDB_MODE": "offline", "WANDB_DIR": str(folder)}
        print(f"No W&B key: this run is kept in {folder}/wandb; `wandb sync` sends it.")
    return {
        "WANDB_PROJECT": "lora-rank-sweep",
        "WANDB_RUN_GROUP": context.sweep_name,
        "WANDB_RUN_ID": context.trial_id,
        "WANDB_RESUME": "allow",
        **place,
    }


def _folder(context: Context) -> Path:
    """The sweep's own folder; where it lies in an object store, one of the same name where the user stands."""
    return context.folder or Path(context.sweep_name).absolute()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc(Path("~/.netrc").expanduser()).authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
